// SPDX-License-Identifier: Apache-2.0
#pragma once
// Ends this process when its work stands still: a thread looks whether progress was told within a limit. It covers what
// no deadline of a collective does, a rank that hangs by itself in a file system or a device, and touches no file.
//
// Time counts only while this process runs: one that was suspended, or found no processor, is not taken for stuck.

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "lsd/core/heartbeat.h"

namespace lsd {

// For how long a count has not changed, of the time between looks; a look that came late counts as `most`.
class Standstill {
 public:
  explicit Standstill(std::chrono::nanoseconds most) : most_(most) {}
  std::chrono::nanoseconds look(std::uint64_t count, std::chrono::nanoseconds since_last_look);

 private:
  std::chrono::nanoseconds most_, still_{0};
  std::uint64_t count_ = 0;
};

class Watchdog {
 public:
  struct Options {
    std::chrono::milliseconds limit{0};              // 0: never
    std::string who;                                 // "rank 1 of 2"; host and process are added
    std::function<void(const std::string&)> tell;    // a line for people; given up when it hangs as well
    std::function<void()> end = [] { exit_now(); };  // behind the line
  };
  Watchdog() : Watchdog(Options{}) {}
  explicit Watchdog(Options options);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // From now on other ranks may read in the heartbeat's file what is noted here, and what was noted last. While no
  // other thread notes.
  void tell_others(std::shared_ptr<Heartbeat> heartbeat);

  // From any thread, at the price of a few atomic stores and, with a heartbeat, of a mutex. `phase` is a literal:
  // "step", "validation".
  void note(std::int64_t step, const char* phase);
  void progress() { count_.fetch_add(1, std::memory_order_relaxed); }  // the phase goes on
  void rest();                                                         // no progress is expected until the next note

 private:
  [[noreturn]] static void exit_now();
  void watch();
  std::string text(std::chrono::nanoseconds still) const;
  void tell(const std::string& line) const;

  Options options_;
  std::shared_ptr<Heartbeat> heartbeat_;
  std::atomic<std::uint64_t> count_{0};
  std::atomic<std::int64_t> step_{0};
  std::atomic<const char*> phase_{nullptr};  // null: at rest
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;  // last: starts when all else stands
};

// Progress is expected while this lives.
class WatchScope {
 public:
  WatchScope(Watchdog& watchdog, const char* phase, std::int64_t step = 0) : watchdog_(watchdog) {
    watchdog_.note(step, phase);
  }
  ~WatchScope() { watchdog_.rest(); }
  WatchScope(const WatchScope&) = delete;
  WatchScope& operator=(const WatchScope&) = delete;

 private:
  Watchdog& watchdog_;
};

}  // namespace lsd
