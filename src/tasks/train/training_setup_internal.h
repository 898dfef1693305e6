// SPDX-License-Identifier: Apache-2.0
#pragma once
// What both training tasks do alike before they hand a job to train::run_training.

#include <memory>

#include "lsd/core/config.h"
#include "lsd/data/shard_set.h"
#include "lsd/tasks/runtime.h"
#include "lsd/tasks/train_autoencoder.h"
#include "lsd/train/training_run.h"

namespace lsd::tasks {

// Keys whose values decide a run's results: their change makes another run.
std::vector<std::string> result_keys();

// The sections that both configs share, the identity of the run, and its data unless only a memory plan is asked for.
template <class Config>
train::TrainingJob common_job(const Config& config, Runtime& runtime, const std::string& program) {
  Config copy = config;
  const ConfigSchema schema = describe(copy);
  train::TrainingJob job{
      .world = {runtime.ranks, *runtime.collectives, *runtime.backend}, .log = runtime.log, .stop = runtime.stop};
  job.program = program;
  job.watchdog = runtime.watchdog;
  job.free_memory = runtime.free_memory;
  job.identity.config_text = schema.text();
  job.identity.settings = train::settings_of(schema, result_keys());
  job.fingerprint = schema.fingerprint(result_keys());
  job.run = config.run;
  job.optimizer = config.optimizer;
  job.training = config.training;
  job.validation = config.validation;
  job.checkpoint = config.checkpoint;
  job.guard = config.guard;
  job.compute = config.compute;
  job.packing.max_length = config.data.max_length;
  job.on_folder = [&runtime](const io::Attempt& attempt) {
    runtime.run_folder = attempt.directory();
    runtime.owns_run_folder = [attempt] { return attempt.is_current(); };
  };
  if (config.run.memory_plan) return job;
  std::shared_ptr<data::ShardSplit> train_split = data::open_shard_split(config.data.shards, "train");
  job.identity.fingerprints["data"] = train_split->fingerprint();
  job.train = train_split;
  job.valid = data::open_shard_split(config.data.shards, "valid");
  return job;
}

}  // namespace lsd::tasks
