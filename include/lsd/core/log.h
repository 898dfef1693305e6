// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a run tells people: plain lines with a time and a level on stderr, and progress with rate and time left: a bar
// that redraws itself on a terminal, a line every so often elsewhere. Only rank 0 speaks unless a line is a warning.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace lsd {

class Log {
 public:
  struct Options {
    bool quiet = false;  // warnings and errors only
    bool root = true;    // whether this rank prints information and progress
    int rank = 0;
    int ranks = 1;
  };
  Log() : Log(Options{}) {}
  explicit Log(Options options);
  void info(std::string_view text) const;
  void warn(std::string_view text) const;  // with the rank, when there are several
  void error(std::string_view text) const;
  const Options& options() const { return options_; }

 private:
  Options options_;
};

// Progress of one long piece of work towards `total` units; 0: nobody knows how many. Cheap to call as often as one
// likes.
class Progress {
 public:
  // `done` starts at a resumed run's position, so that rate and time left count this run's work only.
  Progress(const Log& log, std::string label, std::int64_t total, std::string unit, std::int64_t done = 0);
  ~Progress();
  void update(std::int64_t done, std::string_view note = {});  // note: "loss 2.31"
  void finish();                                               // the last line, with the whole rate

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// "42.4 %  2.8 G of 6.6 G bytes  469.2 M bytes/s  8.2 s left", by the work since `first`, which took `seconds`. Without
// a total: "2.8 G bytes  469.2 M bytes/s".
std::string progress_text(std::int64_t first, std::int64_t done, std::int64_t total, std::string_view unit,
                          double seconds);
std::string human_bytes(double bytes);       // "3.4 GiB"
std::string human_count(double count);       // "18.7 G"
std::string human_duration(double seconds);  // "2 h 05 min"

}  // namespace lsd
