// SPDX-License-Identifier: Apache-2.0
#pragma once
// A whole training run in its run directory: memory plan, start or resume, steps, metrics, validation, checkpoints, a
// stop at a safe point. The same command again goes on where the run stands, or says that it is done.

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "lsd/core/host_memory.h"
#include "lsd/core/log.h"
#include "lsd/core/stop_signal.h"
#include "lsd/core/watchdog.h"
#include "lsd/data/batch_loader.h"
#include "lsd/train/checkpointing.h"
#include "lsd/train/memory_plan.h"
#include "lsd/train/train_config.h"

namespace lsd::train {

struct TrainingJob {
  World world;
  const Log& log;
  StopSignal& stop;

  std::string program;      // "lsd_train_autoencoder"
  std::string fingerprint;  // of the options that decide results
  RunIdentity identity;

  OptimizerConfig optimizer;
  TrainingConfig training;
  ValidationConfig validation;
  CheckpointConfig checkpoint;
  GuardConfig guard;
  ComputeConfig compute;
  RunConfig run;

  std::shared_ptr<const data::SequenceSource> train, valid;  // valid may be null or empty
  data::PackingOptions packing;  // max_length and specials; capacity, max_sequences and seeds are set by the run
  data::BatchContent content;    // masking and token dropout
  data::SampleOrderOptions order;

  BuildModel build;  // with memory for compute values and gradients
  bool ema = false;
  double ema_decay = 0.9999;  // at most; see TrainerOptions
  bool draws_times = false;   // one diffusion time per sequence
  ImportanceSampler::Kind sampling = ImportanceSampler::Kind::none;
  ImportanceOptions importance = {};
  bool global_moments = false;
  std::function<double(double)> effective_time = [](double t) { return t; };
  std::function<void(const data::HostBatch&, bool validating)> prepare = {};
  // Called on every rank once the run directory is this run's own: it is so until a newer attempt begins.
  std::function<void(const io::Attempt&)> on_folder = {};
  // For the memory plan: models that do not train, whether they are in memory already, what a token of a micro-batch
  // takes besides the batch itself, and what tells `build` that another capacity is planned for.
  std::size_t frozen_bytes = 0;
  bool frozen_in_place = false;
  std::size_t extra_bytes_per_token = 0;
  std::function<std::uint64_t()> free_memory = available_host_memory;  // of the device
  std::function<void(std::int64_t)> set_capacity = {};
  std::shared_ptr<Watchdog> watchdog = std::make_shared<Watchdog>();  // hears of progress
};

// Collective. True when all steps are done, false when it stopped early at a checkpoint.
bool run_training(TrainingJob job);

// Throws UserError when ranks and micro-batches do not fit together, or the options contradict each other.
void check_job(const TrainingJob& job);
BatchShape batch_shape(const TrainingJob& job);
// Of one step at training.capacity.
MemoryPlan plan_of(TrainingJob& job);

nn::Recompute recompute_from_name(const std::string& name);

}  // namespace lsd::train
