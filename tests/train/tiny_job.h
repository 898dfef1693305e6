// SPDX-License-Identifier: Apache-2.0
#pragma once
// Whole training runs of a tiny model in a run directory, on threads as ranks, and what they left there.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "lsd/core/atomic_file.h"
#include "lsd/train/training_run.h"
#include "support/metric_lines.h"
#include "train/tiny_training.h"

namespace lsd::testing {

struct TinyJob {
  std::string variant = "nm";
  std::int64_t steps = 12, stop_after = 0, checkpoint_every = 4;
  double learning_rate = 3e-3;
  std::string init_from = {};
  StopSignal* stop = nullptr;
  std::function<void(const data::HostBatch&, bool)> prepare = {};
  // Last changes to a rank's job.
  std::function<void(train::TrainingJob&)> change = {};
};

inline bool run_rank(const TinyJob& setup, const std::filesystem::path& folder, dist::HostCommunicator& ranks) {
  const auto backend = backends::make_reference_backend();
  const auto collectives = ranks.size() == 1 ? dist::make_single_collectives(*backend)
                                             : dist::make_staged_collectives(*backend, ranks.duplicate());
  const Log log({.quiet = true});
  StopSignal own;
  train::TrainingJob job{.world = {ranks, *collectives, *backend}, .log = log, .stop = setup.stop ? *setup.stop : own};
  job.program = "test";
  job.identity.settings = {{"model.variant", setup.variant}, {"learning_rate", std::to_string(setup.learning_rate)}};
  job.fingerprint = setup.variant + std::to_string(setup.learning_rate);
  job.identity.fingerprints = {{"data", "tiny"}};
  job.optimizer.learning_rate = setup.learning_rate;
  job.optimizer.warmup_steps = 3;
  job.training = {.steps = setup.steps, .capacity = 128, .micro_batches = 4, .log_every = 3};
  job.validation = {.every_steps = 5, .micro_batches = 2, .times = {0.0, 0.5}};
  job.checkpoint = {.every_steps = setup.checkpoint_every, .every_minutes = 0, .keep_last = 2};
  job.run.directory = folder.string();
  job.run.stop_after = setup.stop_after;
  job.run.init_from = setup.init_from;
  job.packing.max_length = 32;
  if (setup.variant == "mlm") job.content.masking = data::MaskingOptions{};
  job.train = tiny_source();
  job.valid = tiny_source(10, 77);
  TinyRun tiny;
  tiny.variant = setup.variant;
  job.build = tiny_builder(tiny, ranks.rank());
  job.prepare = setup.prepare;
  if (setup.change) setup.change(job);
  return train::run_training(std::move(job));
}

struct RankEnd {
  bool done = false;
  std::exception_ptr failure;
};

inline std::vector<RankEnd> run_all(const TinyJob& setup, const std::filesystem::path& folder, int ranks) {
  auto communicators = dist::make_thread_communicators(ranks);
  std::vector<RankEnd> ends(communicators.size());
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < communicators.size(); ++rank)
    threads.emplace_back([&, rank] {
      try {
        ends[rank].done = run_rank(setup, folder, *communicators[rank]);
      } catch (...) {
        ends[rank].failure = std::current_exception();
      }
    });
  for (auto& thread : threads) thread.join();
  return ends;
}

inline bool run(const TinyJob& setup, const std::filesystem::path& folder, int ranks = 1) {
  const auto ends = run_all(setup, folder, ranks);
  for (const auto& end : ends)
    if (end.failure) std::rethrow_exception(end.failure);
  return ends[0].done;
}

// Metric lines without what a clock decides.
inline std::vector<std::string> metrics(const std::filesystem::path& folder) {
  std::vector<std::string> lines;
  for (auto& record : metric_lines(folder)) {
    for (const auto* key :
         {"tokens_per_second", "busy_seconds_median", "busy_seconds_slowest", "slowest_rank_by_busy_seconds"})
      record.erase(key);
    lines.push_back(record.dump());
  }
  return lines;
}

// The bytes of the last checkpoint.
inline std::vector<std::string> final_files(const std::filesystem::path& folder) {
  const auto checkpoint = io::open_checkpoint_at(folder);
  std::vector<std::string> files;
  for (const auto& [name, file] : checkpoint.files) files.push_back(name + read_text_file(checkpoint.path / name));
  files.push_back(checkpoint.state.extra_json);
  return files;
}

inline void expect_same_end(const std::filesystem::path& a, const std::filesystem::path& b) {
  EXPECT_EQ(metrics(a), metrics(b));
  EXPECT_TRUE(final_files(a) == final_files(b)) << "checkpoints differ";
}

}  // namespace lsd::testing
