// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/training_run.h"

#include <fmt/format.h>

#include <algorithm>

#include "lsd/core/fault_point.h"
#include "lsd/train/capacity_search.h"
#include "lsd/train/run_estimate.h"
#include "training_loop_internal.h"

namespace lsd::train {
namespace {

// Sequences that a micro-batch has slots for: short ones beyond this wait for the next.
constexpr std::int64_t kTokensPerSlot = 64;

std::int64_t max_sequences(std::int64_t capacity) {
  return std::max<std::int64_t>(capacity / kTokensPerSlot, 8);
}

AdamWOptions adamw_options(const TrainingJob& job) {
  return {.beta1 = job.optimizer.beta1,
          .beta2 = job.optimizer.beta2,
          .epsilon = job.optimizer.epsilon,
          .weight_decay = job.optimizer.weight_decay,
          .ema = job.ema};
}

TrainerOptions trainer_options(const TrainingJob& job) {
  return {.learning_rate = {.peak = job.optimizer.learning_rate,
                            .warmup_steps = job.optimizer.warmup_steps,
                            .total_steps = job.training.steps,
                            .final_fraction = job.optimizer.final_fraction},
          .clip_norm = job.optimizer.clip_norm,
          .ema_decay = job.ema_decay,
          .seed = static_cast<std::uint32_t>(job.run.seed),
          .activation = dtype_from_name(job.compute.activation),
          .residual = dtype_from_name(job.compute.residual),
          .recompute = recompute_from_name(job.compute.recompute),
          .guard = {.window = job.guard.window, .loss_z = job.guard.loss_z, .gradient_z = job.guard.gradient_z},
          .effective_time = job.effective_time,
          .prepare = job.prepare};
}

// What the arrays' shapes do not show: the same weights under other heads are another function, under another GELU
// nearly the same one.
void check_hidden_options(const TrainingJob& job, const io::Checkpoint& checkpoint) {
  const auto differs = [&](const char* key) {
    const auto ours = job.identity.settings.find(key), theirs = checkpoint.state.config.find(key);
    if (ours == job.identity.settings.end() || theirs == checkpoint.state.config.end()) return std::string();
    if (ours->second == theirs->second) return std::string();
    return fmt::format("{} is {} here and {} where the weights come from", key, ours->second, theirs->second);
  };
  if (const auto heads = differs("model.heads"); !heads.empty()) throw UserError(heads + ": set it to the same");
  if (const auto gelu = differs("model.gelu"); !gelu.empty()) job.log.warn(gelu);
}

// Weights to begin with: another run's, or a pure function of seed and parameter names.
std::vector<float> initial_weights(const TrainingJob& job, const nn::ParameterStore& store) {
  if (job.run.init_from.empty()) return store.initial_values(static_cast<std::uint32_t>(job.run.seed));
  const auto checkpoint = io::open_checkpoint_at(job.run.init_from);
  job.log.info("weights from " + checkpoint.path.string());
  return with_context("while taking weights for run.init_from", [&] {
    auto weights = read_trained_weights(checkpoint, store);
    check_hidden_options(job, checkpoint);
    return weights;
  });
}

RunEstimate estimate_of(const TrainingJob& job, const MemoryPlan& plan, std::int64_t step) {
  const auto frozen_bytes = static_cast<std::int64_t>(plan.frozen_bytes);
  return {
      .parameters = plan.num_parameters,
      .frozen_parameters = frozen_bytes / static_cast<std::int64_t>(size_of(dtype_from_name(job.compute.activation))),
      .steps_left = job.training.steps - step,
      .tokens_per_step = job.training.capacity * job.training.micro_batches,
      .ranks = job.world.ranks.size(),
      .checkpoints_kept = job.checkpoint.keep_last,
      .ema = job.ema,
      .memory_bytes = plan.total_bytes()};
}

OptimizerState make_optimizer(const TrainingJob& job, nn::ParameterStore& store) {
  const auto& [ranks, collectives, backend] = job.world;
  if (!job.compute.shard_optimizer) return {backend, store, adamw_options(job)};
  return {backend, store, adamw_options(job), BlockLayout(store.elements(), ranks.size(), ranks.rank()), &collectives};
}

// Every micro-batch, of training and of validation, is progress.
std::function<void(const data::HostBatch&, bool)> told_of(std::function<void(const data::HostBatch&, bool)> prepare,
                                                          std::shared_ptr<Watchdog> watchdog) {
  return [prepare = std::move(prepare), watchdog = std::move(watchdog)](const data::HostBatch& batch, bool validating) {
    watchdog->progress();
    if (prepare) prepare(batch, validating);
  };
}

void warn_of_empty_validation(const TrainingJob& job) {
  if (job.validation.every_steps == 0 || !job.valid || job.valid->size() > 0 || !job.world.ranks.is_root()) return;
  job.log.warn(
      "the validation split holds no sequences: this run does not validate, not even at its end. Make the shards again "
      "with a larger split.valid, or set validation.every_steps = 0");
}

}  // namespace

nn::Recompute recompute_from_name(const std::string& name) {
  if (name == "none") return nn::Recompute::none;
  if (name == "pointwise") return nn::Recompute::pointwise;
  if (name == "block") return nn::Recompute::block;
  throw UserError("unknown recompute '" + name + "'; use none, pointwise or block");
}

BatchShape batch_shape(const TrainingJob& job) {
  return {.capacity = job.training.capacity,
          .max_sequences = max_sequences(job.training.capacity),
          .max_length = job.packing.max_length > 0 ? job.packing.max_length : job.training.capacity,
          .token_dropout = job.content.token_dropout};
}

void check_job(const TrainingJob& job) {
  const auto ranks = job.world.ranks.size();
  if (job.training.micro_batches < ranks)
    throw UserError(
        fmt::format("{} ranks are too many for training.micro_batches = {}: every rank needs one; start fewer "
                    "ranks, or raise micro_batches and lower capacity",
                    ranks, job.training.micro_batches));
  if (job.global_moments && job.training.micro_batches != ranks)
    throw UserError(
        fmt::format("model.moments = global needs one micro-batch per rank and step, but there are {} "
                    "micro-batches and {} ranks; set training.micro_batches = {} and scale capacity",
                    job.training.micro_batches, ranks, ranks));
  if (job.packing.max_length > job.training.capacity)
    throw UserError(
        fmt::format("data.max_length = {} exceeds training.capacity = {}: a sequence must fit into a "
                    "micro-batch; lower the one or raise the other",
                    job.packing.max_length, job.training.capacity));
  if (job.optimizer.warmup_steps > job.training.steps)
    throw UserError(fmt::format("optimizer.warmup_steps = {} exceeds training.steps = {}", job.optimizer.warmup_steps,
                                job.training.steps));
}

MemoryPlan plan_of(TrainingJob& job) {
  if (job.set_capacity) job.set_capacity(job.training.capacity);
  const auto ranks = job.run.memory_plan && job.run.memory_plan_ranks > 0 ? static_cast<int>(job.run.memory_plan_ranks)
                                                                          : job.world.ranks.size();
  auto plan = plan_memory(job.world.backend, job.build,
                          {.shape = batch_shape(job),
                           .activation = dtype_from_name(job.compute.activation),
                           .residual = dtype_from_name(job.compute.residual),
                           .recompute = recompute_from_name(job.compute.recompute),
                           .ema = job.ema,
                           .ranks = job.compute.shard_optimizer ? ranks : 1});
  plan.frozen_bytes = job.frozen_bytes;
  plan.batch_bytes += job.extra_bytes_per_token * static_cast<std::size_t>(job.training.capacity);
  return plan;
}

bool run_training(TrainingJob job) {
  check_job(job);
  const auto shape = batch_shape(job);
  job.packing.capacity = shape.capacity;
  job.packing.max_sequences = shape.max_sequences;
  job.packing.seed = job.content.seed = job.order.seed = static_cast<std::uint32_t>(job.run.seed);
  const auto plan = plan_of(job);
  if (job.run.memory_plan) {
    const auto limit = memory_limit(job);
    job.log.info(plan.text() + (limit ? capacity_text(largest_capacity(job, *limit), *limit) + "\n" : "") +
                 estimate_of(job, plan, 0).text(expected_tflops()));
    return true;
  }
  const WatchScope scope(*job.watchdog, "start");
  job.prepare = told_of(job.prepare, job.watchdog);
  RunFolder folder(job);
  if (folder.already_done()) return true;
  require_memory(job, plan);
  folder.require_disk(estimate_of(job, plan, 0).checkpoint_bytes());
  warn_of_empty_validation(job);
  return folder.finish([&] {
    auto& backend = job.world.backend;
    backend.reserve_scratch(plan.scratch_bytes);
    const auto model = job.build(backend);
    auto optimizer = make_optimizer(job, model->parameters());
    ImportanceSampler sampler(job.sampling, job.importance);
    Trainer trainer(job.world, *model, optimizer, shape, trainer_options(job), plan.activation_bytes,
                    job.draws_times ? &sampler : nullptr);
    const auto begin_anew = [&] {
      optimizer.initialise(initial_weights(job, model->parameters()));
      trainer.state() = {};
      trainer.metrics().clear();
      trainer.guard().set_state({});
      sampler = ImportanceSampler(job.sampling, job.importance);
    };
    if (const auto checkpoint = folder.latest_checkpoint())
      restore_checkpoint(*checkpoint, trainer, job.identity);
    else
      begin_anew();
    folder.start_from(trainer.state().step);
    fault_point("train.resumed");
    job.log.info(fmt::format("{} parameters, {} in one step on {}",
                             human_count(static_cast<double>(plan.num_parameters)),
                             human_bytes(static_cast<double>(plan.total_bytes())), backend.description()));
    job.log.info(estimate_of(job, plan, trainer.state().step).text(expected_tflops()));
    return TrainingLoop(job, trainer, folder, begin_anew).run();
  });
}

}  // namespace lsd::train
