// SPDX-License-Identifier: Apache-2.0
#pragma once
// One training step of any model, on any number of ranks: micro-batches of this rank, gradients summed over ranks while
// backward runs, one AdamW step over the flat block. All ranks take the same decisions from the same reduced numbers.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "lsd/data/batch_loader.h"
#include "lsd/dist/tensor_collectives.h"
#include "lsd/models/model.h"
#include "lsd/train/device_batch.h"
#include "lsd/train/gradient_sync.h"
#include "lsd/train/importance_sampler.h"
#include "lsd/train/learning_rate.h"
#include "lsd/train/metrics.h"
#include "lsd/train/optimizer_state.h"
#include "lsd/train/step_guard.h"

namespace lsd::train {

// Where a trainer computes: the ranks, their sums of tensors, and this rank's device.
struct World {
  dist::HostCommunicator& ranks;
  dist::TensorCollectives& collectives;
  Backend& backend;
};

// A step that the guard did not let through: its samples were passed over and nothing was learnt.
struct SkippedStep {
  std::int64_t step, first_visit, end_visit;
  Verdict verdict = Verdict::not_finite;
  bool operator==(const SkippedStep&) const = default;
};

// What a checkpoint must hold of the trainer besides the optimizer's blocks.
struct TrainerState {
  std::int64_t step = 0;             // steps taken, skipped ones included
  std::int64_t optimizer_steps = 0;  // updates made: bias corrections and the moving average count these
  std::int64_t skips_in_a_row = 0;
  std::int64_t tokens_seen = 0;
  std::int64_t end_visit = 0;  // data cursor
  std::vector<SkippedStep> skipped;
  std::int64_t rollbacks = 0;                // times that the run went back to a checkpoint
  std::vector<std::int64_t> skipped_visits;  // ascending; left out of the data since then
  // First visit of each of the last steps, this one last: where to go back to when they turn out to have done harm.
  std::vector<std::int64_t> recent_first_visits;
};

// How many ranks ask for something; a step brings it to all of them without a message of its own.
struct Votes {
  double stop = 0, checkpoint = 0, failed = 0;
};

struct TrainerOptions {
  LearningRate learning_rate;
  double clip_norm = 1.0;
  double ema_decay = 0.9999;  // behind optimizer step n: min(ema_decay, (1 + n) / (10 + n))
  std::uint32_t seed = 1;
  DType activation = DType::float32, residual = DType::float32;
  nn::Recompute recompute = nn::Recompute::none;
  GuardOptions guard = {};
  // Of gradients that are summed over ranks at one time; a sharded optimizer brings its own.
  std::int64_t bucket_elements = BlockLayout::kDefaultBucket;
  // Maps the schedule's t to the effective time that models read (diffusion).
  std::function<double(double)> effective_time = [](double t) { return t; };
  // Runs before a micro-batch goes to the device, in training and validation (stored latents).
  std::function<void(const data::HostBatch&, bool validating)> prepare = {};
};

struct StepReport {
  bool skipped = false;
  bool new_course = false;  // skipped, but steps like it are learnt from henceforth: the guard has emptied its window
  StepGuard::Judgement judgement = {};
  double loss = 0.0;           // of the global batch
  double gradient_norm = 0.0;  // after scaling, before clipping
  double learning_rate = 0.0;
  Votes votes = {};  // summed over ranks
};

class Trainer {
 public:
  static constexpr std::int64_t kMaxSkipsInARow = 10;
  static constexpr std::int64_t kStepsRemembered = 128;  // in TrainerState::recent_first_visits

  // `arena_bytes` comes from the memory plan, as does the scratch that the backend must have reserved. `sampler` is
  // null for models without a time per sequence. All references must outlive the trainer.
  Trainer(World world, models::Model& model, OptimizerState& optimizer, const BatchShape& shape, TrainerOptions options,
          std::size_t arena_bytes, ImportanceSampler* sampler = nullptr);
  ~Trainer();

  // Collective. Loss and gradient are judged before the update, which a step that is no good leaves out. After
  // kMaxSkipsInARow such steps in a row: DataError naming steps and samples when the last was not finite; otherwise the
  // losses have settled elsewhere, which skipping cannot mend, and are the guard's new measure. `ask` gives this rank's
  // votes, late in the step. The update may still be under way on the device at return.
  StepReport step(data::StepBatches& batches, const std::function<Votes()>& ask = {});
  // Adds the model's metrics over one micro-batch to `sums`, without gradients. Draws come from `seed`; a fixed time is
  // the schedule's t.
  void evaluate(data::HostBatch& batch, std::uint32_t seed, std::optional<float> fixed_time, MetricSums& sums);

  TrainerState& state() { return state_; }
  const TrainerState& state() const { return state_; }
  MetricSums& metrics() { return metrics_; }  // since they were last cleared, without skipped steps
  MetricSums new_sums() const { return MetricSums(model_.metrics(), model_.metric_slots()); }
  models::Model& model() { return model_; }
  OptimizerState& optimizer() { return optimizer_; }
  ImportanceSampler* sampler() { return sampler_; }
  StepGuard& guard() { return guard_; }
  // Time in forward and backward passes since the last call, without the waits for other ranks at their end: of the
  // host, so of CPU backends only.
  double take_busy_seconds() { return std::exchange(busy_seconds_, 0.0); }
  const World& world() const { return world_; }
  const GradientSync& gradient_sync() const { return sync_; }

 private:
  class Hooks;
  nn::StepContext context(std::uint32_t seed);
  double set_scalars(const data::StepBatches& batches);
  void draw_times(data::HostBatch& batch) const;
  void run_micro_batch(data::StepBatches& batches, std::size_t index);
  void run_backward(data::StepBatches& batches);
  void find_gradient_norm();
  models::MetricCounts counts_of(const data::StepBatches& batches) const;
  void reduce_and_judge(const models::MetricCounts& counts, double squared_norm, double scale, StepReport& report,
                        const std::function<Votes()>& ask);
  void observe_losses(const data::StepBatches& batches);
  void note_outcome(const data::StepBatches& batches, const models::MetricCounts& counts, StepReport& report);
  void note_skip(const data::StepBatches& batches, StepReport& report);

  World world_;
  models::Model& model_;
  OptimizerState& optimizer_;
  TrainerOptions options_;
  ImportanceSampler* sampler_;
  StepGuard guard_;
  std::vector<models::MetricSpec> specs_;
  DeviceBatch device_batch_;
  GradientSync sync_;
  std::unique_ptr<Hooks> hooks_;
  DeviceMemory small_memory_;
  TensorView metric_slots_, squared_norm_, share_;
  StepScalars scalars_;
  Arena arena_;
  MetricSums metrics_;
  TrainerState state_;
  double busy_seconds_ = 0.0;
  std::vector<float> host_slots_, shares_;
  std::vector<std::vector<float>> sequence_losses_;  // per micro-batch of the step
};

}  // namespace lsd::train
