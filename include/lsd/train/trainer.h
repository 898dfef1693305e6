// SPDX-License-Identifier: Apache-2.0
#pragma once
// One training step of any model, on any number of ranks: micro-batches of this rank, gradients summed over ranks while
// backward runs, one AdamW step over the flat block. All ranks take the same decisions from the same reduced numbers.

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lsd/core/log.h"
#include "lsd/data/host_batch.h"
#include "lsd/dist/tensor_collectives.h"
#include "lsd/models/model.h"
#include "lsd/train/device_batch.h"
#include "lsd/train/gradient_sync.h"
#include "lsd/train/importance_sampler.h"
#include "lsd/train/learning_rate.h"
#include "lsd/train/metrics.h"
#include "lsd/train/optimizer_state.h"

namespace lsd::train {

// Where a trainer computes: the ranks, their sums of tensors, and this rank's device.
struct World {
  dist::HostCommunicator& ranks;
  dist::TensorCollectives& collectives;
  Backend& backend;
};

// What one step trains on: this rank's micro-batches, and what those of all ranks hold together.
struct StepInput {
  std::vector<data::HostBatch*> micro_batches;
  std::int64_t global_residues = 0;
  std::int64_t global_tokens = 0;
};

struct SkippedStep {
  std::int64_t step;
  std::int64_t first_visit, last_visit;  // of the samples in the global batch
  bool operator==(const SkippedStep&) const = default;
};

// What a checkpoint must hold of the trainer besides the optimizer's blocks.
struct TrainerState {
  std::int64_t step = 0;             // steps taken, skipped ones included: the data position
  std::int64_t optimizer_steps = 0;  // updates made: bias corrections and the moving average count these
  std::int64_t skips_in_a_row = 0;
  std::int64_t tokens_seen = 0;
  std::vector<SkippedStep> skipped;
};

struct TrainerOptions {
  LearningRate learning_rate;
  double clip_norm = 1.0;
  std::uint32_t seed = 1;
  DType activation = DType::float32, residual = DType::float32;
  nn::Recompute recompute = nn::Recompute::none;
  std::int64_t bucket_elements = GradientSync::kDefaultBucket;
};

struct StepReport {
  bool skipped = false;
  double gradient_norm = 0.0;  // after scaling, before clipping
  double learning_rate = 0.0;
};

class Trainer {
 public:
  static constexpr std::int64_t kMaxSkipsInARow = 10;

  // `arena_bytes` and scratch come from the memory plan. `sampler` may be null (models without a time per sequence).
  Trainer(World world, models::Model& model, OptimizerState& optimizer, const BatchShape& shape,
          const TrainerOptions& options, std::size_t arena_bytes, ImportanceSampler* sampler);
  ~Trainer();

  // Collective. Throws SystemError after kMaxSkipsInARow steps in a row without a finite gradient, naming steps and
  // samples. A fault of one rank is the same fault on all of them.
  StepReport step(const StepInput& input);
  // Adds the model's metrics over one micro-batch to `sums`, without gradients. Draws come from `seed`.
  void evaluate(data::HostBatch& batch, std::uint32_t seed, const models::EvaluateOptions& options, MetricSums& sums);

  TrainerState& state() { return state_; }
  MetricSums& metrics() { return metrics_; }  // since they were last cleared; skipped steps stand out of them
  MetricSums new_sums() const;
  // Called on each host batch before it goes to the device, in training and validation (stored latents).
  void set_prepare(std::function<void(data::HostBatch&)> prepare) { prepare_ = std::move(prepare); }
  OptimizerState& optimizer() { return optimizer_; }
  const GradientSync& gradient_sync() const { return sync_; }

 private:
  class Hooks;
  struct Counts;
  nn::StepContext context(std::uint32_t seed);
  double upload_scalars(const StepInput& input, std::int64_t targets);
  void run_micro_batch(data::HostBatch& batch, std::size_t index, bool last);
  void draw_times(data::HostBatch& batch) const;
  void observe_losses(const StepInput& input);
  bool note_outcome(const StepInput& input, double squared_norm);
  [[noreturn]] void give_up(const StepInput& input) const;

  World world_;
  models::Model& model_;
  OptimizerState& optimizer_;
  TrainerOptions options_;
  ImportanceSampler* sampler_;
  std::function<void(data::HostBatch&)> prepare_;
  DeviceBatch device_batch_;
  GradientSync sync_;
  DeviceMemory small_memory_;
  TensorView metric_slots_, squared_norm_, shares_;
  StepScalars scalars_;
  Arena arena_;
  MetricSums metrics_;
  TrainerState state_;
  std::vector<std::vector<float>> sequence_losses_;  // per micro-batch of the step
};

}  // namespace lsd::train
