// SPDX-License-Identifier: Apache-2.0
#pragma once
// The frame of every program. A main is one call:
//
//   int main(int argc, char** argv) {
//     return lsd::apps::run_app<lsd::tasks::ShardConfig>(
//         {.name = "lsd_shard_uniref50", .summary = "FASTA to shards", .example = "..."}, argc, argv,
//         lsd::tasks::shard);
//   }
//
// It starts MPI when a launcher started several ranks (one process alone takes the same path with one rank), reads the
// options (rank 0 reads the files, all ranks get its bytes), answers --help, --version and --print-config (which alone
// shows the defaults, and otherwise fails behind its output when the options given contradict each other), makes
// backend and collectives, installs the stop signal, runs the task and turns what happens into an exit code:
//   0 done, 75 stopped early and resumable, 1 failed (by an exception or as the task's outcome).
// Wrong options end all ranks in an orderly way with one message. An error inside the task is told by the rank that
// failed; then the whole job is aborted, because other ranks may wait for it.
//
// The state file of a run folder: the task commits DONE or STOPPED itself (RunDir, rank 0, after a barrier, when all
// its files are closed), so that it behaves alike under tests. As soon as a folder is its own it sets
// Runtime::run_folder; on an error the failing rank commits FAILED there.

#include <functional>
#include <string_view>

#include "lsd/core/config.h"
#include "lsd/tasks/runtime.h"

namespace lsd::apps {

inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitStopped = 75;  // EX_TEMPFAIL: the same command goes on from there

struct AppInfo {
  std::string_view name;            // "lsd_train_autoencoder"
  std::string_view summary;         // one line
  std::string_view example;         // works in a checkout behind the examples of the stages before it
  bool needs_backend = true;        // false: no --backend and the like, Runtime::backend is nullptr
  std::string_view words_key = {};  // the list that words without "--" belong to; empty: there are none
  bool uses_ranks = true;           // false: one process does it all, and is never stopped halfway
};

// `schema` points into the config that `task` reads.
int run_app(const AppInfo& info, int argc, char** argv, ConfigSchema& schema,
            const std::function<tasks::Outcome(tasks::Runtime&)>& task);

template <class Config>
int run_app(const AppInfo& info, int argc, char** argv, tasks::Outcome (*task)(const Config&, tasks::Runtime&)) {
  Config config;
  ConfigSchema schema = describe(config);
  return run_app(info, argc, argv, schema, [&](tasks::Runtime& runtime) { return task(config, runtime); });
}

}  // namespace lsd::apps
