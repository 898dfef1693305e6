// SPDX-License-Identifier: Apache-2.0
#pragma once
// What each rank is at, in a file of its own that a thread rewrites every few seconds: the training loop does no more
// than note it in memory. When a rank falls silent, the others read there which one, on which node and in which step.
//
//   <run>/attempts/0003/rank-00001.json   rank, host, pid, step, phase, time

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

namespace lsd::train {

class Heartbeat {
 public:
  Heartbeat(std::filesystem::path folder, int rank, std::chrono::milliseconds every = std::chrono::seconds(5));
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  // `phase` is a literal: "step", "validation", "checkpoint".
  void note(std::int64_t step, const char* phase) {
    phase_.store(phase, std::memory_order_relaxed);
    step_.store(step, std::memory_order_relaxed);
  }

 private:
  void run(std::chrono::milliseconds every);
  void write() const;  // a file that cannot be written is no reason to stop

  std::filesystem::path file_;
  int rank_;
  std::atomic<std::int64_t> step_{0};
  std::atomic<const char*> phase_{"start"};
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

// One line on the ranks other than `rank` that are furthest behind, or wrote last longest ago; empty when nothing is
// known.
std::string who_is_missing(const std::filesystem::path& folder, int ranks, int rank);

}  // namespace lsd::train
