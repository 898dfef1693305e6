// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a stage that is no training will take (a training: lsd/train/run_estimate.h): memory and disk from its sizes,
// told before the work; the time as soon as the first piece of the work has shown a rate.

#include <chrono>
#include <string>

#include "lsd/core/log.h"

namespace lsd::tasks {

struct WorkEstimate {
  double memory_bytes = 0.0;  // of the rank with the most
  std::string memory_of;      // what is counted
  double disk_bytes = 0.0;    // still to be written, by all ranks
  double work = 0.0;          // of the rank with the most; 0: not known beforehand
  std::string unit;           // of the work, plural
  std::string time_of = "";   // what the time is for, where it is not all of the stage

  std::string sizes() const;  // one line
  // One line: the time of all the work at the rate of what was `done` in `seconds`, on one rank.
  std::string time(double done, double seconds) const;
};

// Tells the time once: at the first call behind `least_seconds` of work; never that of work whose amount is not known.
// Begins to count when it is made.
class TimeTeller {
 public:
  TimeTeller(const Log& log, WorkEstimate estimate, double least_seconds = 0.0)
      : log_(log), estimate_(std::move(estimate)), least_seconds_(least_seconds) {}
  void update(double done);

 private:
  const Log& log_;
  WorkEstimate estimate_;
  double least_seconds_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  bool told_ = false;
};

}  // namespace lsd::tasks
