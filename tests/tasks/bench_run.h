// SPDX-License-Identifier: Apache-2.0
#pragma once
// lsd_bench at its smallest, on two sequences of 10 and 22 tokens.

#include "lsd/core/atomic_file.h"
#include "lsd/core/log.h"
#include "lsd/core/stop_signal.h"
#include "lsd/dist/host_communicator.h"
#include "lsd/dist/tensor_collectives.h"
#include "lsd/tasks/step_bench.h"
#include "support/temporary_folder.h"

namespace lsd::testing {

inline tasks::StepBenchResult run_bench(tasks::StepBenchConfig config, Backend& backend) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "lengths.txt", std::string_view("10\n22\n"));
  config.lengths = (folder / "lengths.txt").string();
  config.model = "nano";
  config.steps = 2;
  config.warmup = 0;
  const auto ranks = dist::make_single_communicator();
  const auto collectives = dist::make_single_collectives(backend);
  StopSignal stop;
  const Log log({.quiet = true, .root = true, .rank = 0, .ranks = 1});
  tasks::Runtime runtime{
      .ranks = *ranks, .stop = stop, .log = log, .backend = &backend, .collectives = collectives.get()};
  return tasks::step_bench(config, runtime);
}

}  // namespace lsd::testing
