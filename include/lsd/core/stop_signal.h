// SPDX-License-Identifier: Apache-2.0
#pragma once
// SIGTERM, SIGINT and SIGUSR1 (Slurm's warning ahead of the time limit) only set a flag; loops read it at a step
// boundary, write a checkpoint and stop as resumable. A second SIGINT ends the process at once.

#include <atomic>

namespace lsd {

class StopSignal {
 public:
  StopSignal() = default;
  ~StopSignal();  // an installed object gives the signals back to their default effect
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  bool requested() const { return flag_.load(std::memory_order_relaxed); }
  void request() { flag_.store(true, std::memory_order_relaxed); }  // tests, and rules such as "stop after step N"
  // Routes the process's signals to this object. One object at a time.
  void install();

 private:
  std::atomic<bool> flag_{false};
};

}  // namespace lsd
