// SPDX-License-Identifier: Apache-2.0
#pragma once
// What each rank is at, in a file of its own that a thread rewrites when that changes: whoever computes does no more
// than note it in memory. When a rank falls silent, the others read there which one, on which node and in which step
// (of a training; in other stages the number of the shard, part or head that it has in hand).
//
//   <run>/attempts/0003/rank-00001.json   rank, host, pid, step, phase, seconds in it, time

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <thread>

namespace lsd {

class Heartbeat {
 public:
  struct Pace {
    std::chrono::milliseconds least;  // between two writes
    std::chrono::milliseconds most;   // without one, though nothing has changed
  };
  // A write a second at most, and at most 100 by all ranks together: they share a file system's metadata server.
  static Pace pace_of(int ranks);

  Heartbeat(std::filesystem::path folder, int rank, Pace pace);
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  // `phase` is a literal: "step", "validation", "parts". Never waits for the file system.
  void note(std::int64_t step, const char* phase);

 private:
  using Clock = std::chrono::steady_clock;
  struct Place {
    std::int64_t step = 0;
    const char* phase = "start";
    Clock::time_point since = Clock::now();
  };
  void run();
  void write(const Place& place) const;  // a file that cannot be written is no reason to stop

  std::filesystem::path file_;
  int rank_;
  Pace pace_;
  std::mutex mutex_;  // of all below
  std::condition_variable wake_;
  Place place_;
  bool changed_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

// One line on the rank other than `rank` that wrote last longest ago; empty when nothing is known. Where all ranks go
// through the same steps, in a training, also on the one that is furthest behind; numbers of parts and shards are no
// order. The line says so instead when the folder's file system does not answer within `limit`: errors shall not wait
// for it.
std::string who_is_missing(const std::filesystem::path& folder, int ranks, int rank, bool same_steps,
                           std::chrono::milliseconds limit = std::chrono::seconds(10));

}  // namespace lsd
