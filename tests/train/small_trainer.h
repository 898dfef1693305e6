// SPDX-License-Identifier: Apache-2.0
#pragma once
// The trainer of one rank with all that it refers to, for tests that look into single steps; and a tiny denoiser for it
// whose losses can be worked out by hand.

#include <cmath>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "support/diffusion_by_hand.h"
#include "train/tiny_training.h"

namespace lsd::testing {

struct SmallTrainerSetup {
  train::BuildModel build;
  train::TrainerOptions options = {};
  bool ema = false;
  train::ImportanceSampler* sampler = nullptr;
};

// Begins with initial_values(9) as masters and average; batches of tiny_loader() fit.
class SmallTrainer {
 public:
  explicit SmallTrainer(const SmallTrainerSetup& setup)
      : plan_(train::plan_memory(*backend, setup.build, {.shape = shape(), .ema = setup.ema})),
        model(make_model(setup.build)),
        optimizer(*backend, model->parameters(), {.ema = setup.ema}),
        trainer({*ranks, *collectives, *backend}, *model, optimizer, shape(), setup.options, plan_.activation_bytes,
                setup.sampler) {
    optimizer.initialise(model->parameters().initial_values(9));
  }

  double metric(const std::string& name) { return value_of(trainer.metrics().reduced(*ranks), name); }
  static double value_of(const std::vector<std::pair<std::string, double>>& values, const std::string& name) {
    for (const auto& [key, value] : values)
      if (key == name) return value;
    throw std::runtime_error("no metric " + name);
  }
  // The gradient of one parameter as the last step left it.
  std::vector<float> gradient(const std::string& name) const {
    const auto* info = model->parameters().find(name);
    const auto block = model->parameters().grad_block().slice(info->offset, info->shape.elements()).span<float>();
    return {block.begin(), block.end()};
  }
  // A whole block of the optimizer (masters, average) in host memory.
  std::vector<float> block(ConstTensorView local) const {
    std::vector<float> whole;
    optimizer.gather(*ranks, local, whole);
    return whole;
  }

  std::unique_ptr<Backend> backend = backends::make_reference_backend();
  std::unique_ptr<dist::HostCommunicator> ranks = dist::make_single_communicator();
  std::unique_ptr<dist::TensorCollectives> collectives = dist::make_single_collectives(*backend);

 private:
  static train::BatchShape shape() { return {.capacity = 128, .max_sequences = 8, .max_length = 32}; }
  std::unique_ptr<models::Model> make_model(const train::BuildModel& build) {
    backend->reserve_scratch(plan_.scratch_bytes);
    return build(*backend);
  }
  train::MemoryPlan plan_;

 public:
  std::unique_ptr<models::Model> model;
  train::OptimizerState optimizer;
  train::Trainer trainer;
};

// Of the batches that tiny_loader() makes.
inline constexpr std::uint32_t kTinySeed = 3;
inline constexpr std::int64_t kKnownWidth = 8;

// The clean latent of a token.
inline double known_latent(std::int64_t position, std::int64_t column) {
  return static_cast<float>(0.25 +
                            1.5 * std::sin(0.7 * static_cast<double>(position) + 1.3 * static_cast<double>(column)));
}

// A denoiser on known_latent(). As initialised it predicts 0, since its output map starts at zero.
class KnownLatentsModel : public models::Model {
 public:
  explicit KnownLatentsModel(std::unique_ptr<models::Denoiser> denoiser) : denoiser_(std::move(denoiser)) {}

  nn::ParameterStore& parameters() override { return denoiser_->parameters(); }
  models::LossCount loss_count() const override { return denoiser_->loss_count(); }
  int metric_slots() const override { return denoiser_->metric_slots(); }
  std::vector<models::MetricSpec> metrics() const override { return denoiser_->metrics(); }
  ConstTensorView sequence_losses() const override { return denoiser_->sequence_losses(); }
  void forward_backward(nn::StepContext& step, const models::Batch& batch, ConstTensorView share) override {
    denoiser_->forward_backward(step, with_latents(step, batch), share);
  }
  void evaluate(nn::StepContext& step, const models::Batch& batch, const models::EvaluateOptions& options) override {
    denoiser_->evaluate(step, with_latents(step, batch), options);
  }

  float factor = 1.0F;  // of the latents

 private:
  models::Batch with_latents(const nn::StepContext& step, const models::Batch& batch) {
    const auto rows = batch.layout.rows();
    latents_.resize(static_cast<std::size_t>(rows * kKnownWidth));
    if (!step.backend.planning()) {
      const auto positions = batch.layout.row_position.span<std::int32_t>();
      for (std::size_t i = 0; i < latents_.size(); ++i)
        latents_[i] = factor * static_cast<float>(known_latent(positions[i / kKnownWidth],
                                                               static_cast<std::int64_t>(i % kKnownWidth)));
    }
    auto out = batch;
    out.latents = ConstTensorView(latents_.data(), DType::float32, Shape{rows, kKnownWidth});
    return out;
  }

  std::unique_ptr<models::Denoiser> denoiser_;
  std::vector<float> latents_;
};

inline std::unique_ptr<models::Model> build_known_denoiser(Backend& backend) {
  models::DenoiserConfig config;
  config.width = 16;
  config.heads = 2;
  config.layers = 1;
  config.time_features = 8;
  auto denoiser = models::build_denoiser(config, kKnownWidth);
  denoiser->parameters().allocate(backend, DType::float32, true);
  return std::make_unique<KnownLatentsModel>(std::move(denoiser));
}

// Sequences of which every fourth residue is an X: a residue like any other, but no target of an autoencoder.
inline std::shared_ptr<const data::SequenceSource> source_with_unknowns(std::int64_t records = 40) {
  const auto plain = tiny_source(records);
  std::vector<std::vector<std::uint8_t>> sequences;
  for (std::int64_t record = 0; record < records; ++record) {
    const auto residues = plain->residues(record);
    auto& copy = sequences.emplace_back(residues.begin(), residues.end());
    for (std::size_t i = 1; i < copy.size(); i += 4) copy[i] = data::kUnknownResidue;
  }
  return data::make_memory_source(std::move(sequences));
}

}  // namespace lsd::testing
