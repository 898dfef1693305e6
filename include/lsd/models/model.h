// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the trainer knows of a model. It cannot tell an autoencoder from a diffusion model.

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lsd/models/batch.h"
#include "lsd/nn/parameter_store.h"
#include "lsd/nn/step_context.h"

namespace lsd::models {

// What a metric's sum is divided by. The host knows all of them before the step (Batch::num_residues, num_targets, the
// share that it gave each micro-batch), so the device adds up no counts.
enum class MetricCount { shares, residues, targets };

// A reported number: sum / count + plus_factor * (the metric named `plus`, listed earlier). The sum is a slot of
// StepContext::metrics; sum and count are both added up over micro-batches and ranks.
struct MetricSpec {
  std::string name;  // "loss_recon", "accuracy", ...
  int sum_slot = 0;
  MetricCount count = MetricCount::shares;
  std::string plus = {};
  double plus_factor = 0.0;
  bool at_fixed_times = true;  // false: says nothing of a fixed time, so it is not reported there
};

struct MetricCounts {
  double shares = 0, residues = 0, targets = 0;
};

// Values of all metrics, in order; 0 where a count is 0.
std::vector<double> metric_values(const std::vector<MetricSpec>& specs, std::span<const double> slot_sums,
                                  const MetricCounts& counts);

// How the trainer scales the gradient of the reconstruction or denoising loss.
enum class LossCount {
  residues,  // N = residues of the global batch, known before the step: scalars.loss_scale = 1/N
  targets,   // targets of the global batch (MLM): loss_scale = 1, gradient_scale = 1 / all-reduced target count
};

struct EvaluateOptions {
  std::optional<float> fixed_time;  // noise of every row (NM) or sequence (diffusion); none: the loss's own draws
  // Float32 [1] in device memory, in proportion to the residues: what the normalisation loss of this micro-batch weighs
  // among those that are evaluated. Absent: 1.
  ConstTensorView micro_batch_share = {};
};

class Model {
 public:
  virtual ~Model() = default;
  virtual nn::ParameterStore& parameters() = 0;
  virtual LossCount loss_count() const = 0;
  virtual int metric_slots() const = 0;
  virtual std::vector<MetricSpec> metrics() const = 0;

  // Adds this micro-batch's gradients to the store's and its sums to step.metrics. Arena use is released before return.
  // `micro_batch_share` = residues of this micro-batch / residues of the global batch, as float32 [1] in device memory:
  // what the normalisation loss of one micro-batch weighs in the step, in its gradient and in its metric.
  virtual void forward_backward(nn::StepContext& step, const Batch& batch, ConstTensorView micro_batch_share) = 0;
  // Adds to step.metrics alone. Makes no collective call: ranks may evaluate different numbers of micro-batches.
  virtual void evaluate(nn::StepContext& step, const Batch& batch, const EvaluateOptions& options) = 0;
  // float32 [max_sequences] of the last forward_backward: unweighted loss of each sequence. Absent for autoencoders.
  virtual ConstTensorView sequence_losses() const { return {}; }
};

}  // namespace lsd::models
