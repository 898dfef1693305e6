// SPDX-License-Identifier: Apache-2.0
#pragma once
// A model with its memory, for tests: loss and gradients as the trainer would form them, and a small AdamW loop.

#include <memory>
#include <vector>

#include "lsd/backends/make_backend.h"
#include "lsd/models/build_model.h"
#include "support/model_step.h"
#include "support/packed_batch.h"

namespace lsd::testing {

// Small sequences of every amino acid, some X (24), some repeated types.
inline PackedBatch::Sequences sample_sequences() {
  return {
      {4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 4, 4, 5}, {14, 15, 16, 17, 24, 18, 19, 5, 4}, {20, 21, 22, 23, 4, 5, 6}, {5}};
}

inline models::AutoencoderConfig small_autoencoder(const std::string& variant) {
  models::AutoencoderConfig config;
  config.variant = variant;
  config.width = 16;
  config.heads = 2;
  config.encoder_layers = 1;
  config.decoder_layers = 1;
  config.gelu = "erf";
  config.min_count = 4;  // two types of sample_sequences() reach it
  return config;
}

class ModelRun {
 public:
  ModelRun(models::Model& model, Backend& backend, DType activation = DType::float32)
      : model_(model), backend_(backend), run_(backend) {
    run_.activation = activation;
    run_.residual = activation;
    model_.parameters().allocate(backend, activation, true);
    run_.metrics.assign(static_cast<std::size_t>(model.metric_slots()), 0.0F);
  }

  ModelStep& run() { return run_; }
  models::Model& model() { return model_; }

  void zero_gradients() { backend_.pointwise().run(Fill{.y = model_.parameters().grad_block(), .value = 0.0F}); }
  void forward_backward(const models::Batch& batch, float share = 1.0F) {
    run_.metrics.assign(run_.metrics.size(), 0.0F);
    auto step = run_.context();
    model_.forward_backward(step, batch, ConstTensorView(&share, DType::float32, Shape{1}));
  }
  void evaluate(const models::Batch& batch, std::optional<float> fixed_time = {}) {
    run_.metrics.assign(run_.metrics.size(), 0.0F);
    auto step = run_.context();
    model_.evaluate(step, batch, {.fixed_time = fixed_time});
  }
  double metric(const std::string& name, const models::Batch& batch) const {
    const std::vector<double> sums(run_.metrics.begin(), run_.metrics.end());
    const models::MetricCounts counts{.shares = 1,
                                      .residues = static_cast<double>(batch.num_residues),
                                      .targets = static_cast<double>(batch.num_targets)};
    const auto specs = model_.metrics();
    const auto values = models::metric_values(specs, sums, counts);
    for (std::size_t i = 0; i < specs.size(); ++i)
      if (specs[i].name == name) return values[i];
    throw std::runtime_error("no metric " + name);
  }
  std::vector<float> gradients() const {
    const auto block = model_.parameters().grad_block().span<float>();
    return {block.begin(), block.end()};
  }

 private:
  models::Model& model_;
  Backend& backend_;
  ModelStep run_;
};

// AdamW through the optimizer's ops; float32 parameters are their own masters.
class SmallAdamW {
 public:
  SmallAdamW(ModelRun& run, Backend& backend, float learning_rate, float weight_decay = 0.0F)
      : run_(run), backend_(backend), weight_decay_(weight_decay), decay_(run.model().parameters().decay_blocks()) {
    const auto values = run.model().parameters().compute_block().span<float>();
    master_.assign(values.begin(), values.end());
    first_.assign(values.size(), 0.0F);
    second_.assign(values.size(), 0.0F);
    run.run().scalars().set(StepScalars::learning_rate, learning_rate);
    run.run().scalars().set(StepScalars::gradient_scale, 1.0F);
    run.run().scalars().set(StepScalars::clip_norm, 1.0F);
  }

  void set_gradient_scale(float scale) { run_.run().scalars().set(StepScalars::gradient_scale, scale); }
  void step() {
    ++steps_;
    auto& scalars = run_.run().scalars();
    scalars.set(StepScalars::bias_correction1, static_cast<float>(1.0 - std::pow(0.9, steps_)));
    scalars.set(StepScalars::bias_correction2, static_cast<float>(1.0 - std::pow(0.98, steps_)));
    scalars.upload(backend_);
    std::vector<float> squared(1, 0.0F);
    const auto& store = run_.model().parameters();
    const Shape flat{store.elements()};
    const auto view = [&](std::vector<float>& values, Shape shape) {
      return TensorView(values.data(), DType::float32, shape);
    };
    backend_.optimizer().run(SquaredNorm{.x = store.grad_block(), .sum = view(squared, Shape{1})});
    backend_.optimizer().run(
        AdamW{.grad = store.grad_block(),
              .decay_blocks = ConstTensorView(decay_.data(), DType::uint8, Shape{store.elements() / 64}),
              .scalars = scalars.all(),
              .squared_norm = view(squared, Shape{1}),
              .master = view(master_, flat),
              .first_moment = view(first_, flat),
              .second_moment = view(second_, flat),
              .compute = store.compute_block(),
              .weight_decay = weight_decay_});
  }

 private:
  ModelRun& run_;
  Backend& backend_;
  float weight_decay_;
  std::vector<std::uint8_t> decay_;
  std::vector<float> master_, first_, second_;
  int steps_ = 0;
};

}  // namespace lsd::testing
