// SPDX-License-Identifier: Apache-2.0
#pragma once
// SIGTERM, SIGINT and SIGUSR1 (Slurm's warning ahead of the time limit) only set a flag; loops read it at a step
// boundary, write a checkpoint and stop as resumable. A second SIGINT ends the process at once.
//
// A thread of its own takes the signals: on a thread that computes, a handler's frame overwrites what generated code of
// oneDNN 2.6 keeps further below the stack pointer than the ABI leaves alone
// (docs/decisions/0001-cpu-matrix-products.md).

#include <atomic>
#include <csignal>
#include <thread>

namespace lsd {

class StopSignal {
 public:
  StopSignal() = default;
  ~StopSignal();  // an installed object gives SIGTERM and SIGINT back to their default effect; SIGUSR1 has none any
                  // more
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;
  bool requested() const { return flag_.load(std::memory_order_relaxed); }
  void request() { flag_.store(true, std::memory_order_relaxed); }  // tests, and rules such as "stop after step N"
  // Routes the process's signals to this object. One object at a time. Blocks them in the calling thread, and so in
  // every thread that it starts from here on: call it before threads that compute exist, and destroy the object in this
  // thread.
  void install();

 private:
  std::atomic<bool> flag_{false};
  std::thread listener_;
  int end_of_listening_[2] = {-1, -1};  // a pipe: closed, it wakes the listener
  sigset_t mask_before_{};
};

}  // namespace lsd
