// SPDX-License-Identifier: Apache-2.0
#pragma once
// What run_app hands to a task besides its config, and what a task hands back.

#include <filesystem>
#include <functional>
#include <memory>

#include "lsd/core/heartbeat.h"
#include "lsd/core/host_memory.h"
#include "lsd/core/log.h"
#include "lsd/core/stop_signal.h"
#include "lsd/core/watchdog.h"
#include "lsd/dist/host_communicator.h"
#include "lsd/dist/tensor_collectives.h"
#include "lsd/tensor/backend.h"

namespace lsd::tasks {

struct Runtime {
  dist::HostCommunicator& ranks;
  StopSignal& stop;
  const Log& log;
  Backend* backend = nullptr;  // nullptr for programs that compute nothing
  dist::TensorCollectives* collectives = nullptr;
  // Ends this process when a task that has told of progress no longer does; without a limit unless run_app sets one.
  std::shared_ptr<Watchdog> watchdog = std::make_shared<Watchdog>();
  // Bytes that can still be allocated where the backend computes; 2^64 - 1 where nobody knows.
  std::function<std::uint64_t()> free_memory = available_host_memory;
  // Set by the task, on every rank, once a run folder is its own: run_app commits FAILED there when the task throws, or
  // STOPPED when all that went wrong is that another rank was lost.
  std::filesystem::path run_folder = {};
  // What the ranks of this attempt tell of themselves (heartbeat.h); run_app reads it when one of them is lost. Set by
  // begin_heartbeat; a training has its own, which knows its steps.
  std::filesystem::path heartbeats = {};
  void begin_heartbeat(const std::filesystem::path& attempt_folder) {
    if (!heartbeats.empty()) return;  // a task that is part of another one
    heartbeats = attempt_folder;
    watchdog->tell_others(std::make_shared<Heartbeat>(heartbeats, ranks.rank(), Heartbeat::pace_of(ranks.size())));
  }
  // False once a newer start of the job has taken the folder over, which then is no longer this one's to write to.
  std::function<bool()> owns_run_folder = [] { return true; };
};

// From good to bad: a job ends with the worst of its ranks.
enum class Outcome {
  done,     // exit code 0
  stopped,  // exit code 75: interrupted at a safe point; the same command goes on from there
  failed,   // exit code 1: the answer is no (lsd_verify); all ranks ended in an orderly way
};

}  // namespace lsd::tasks
