// SPDX-License-Identifier: Apache-2.0
// Memory and shapes: a planning walk finds what a real step takes, models have the sizes they are named after, and a
// sequence as long as titin can be embedded.

#include <gtest/gtest.h>

#include "model_run.h"

namespace lsd::models {
namespace {

using testing::ModelRun;
using testing::PackedBatch;

// A packed batch's views without memory behind them, as a memory plan sees it.
Batch planned_batch(std::int64_t rows, std::int64_t max_sequences, std::int64_t latent, DType activation) {
  const auto view = [](DType type, Shape shape) { return ConstTensorView(nullptr, type, shape); };
  Batch batch;
  batch.layout = {.offsets = view(DType::int32, Shape{max_sequences + 1}),
                  .row_sequence = view(DType::int32, Shape{rows}),
                  .row_position = view(DType::int32, Shape{rows}),
                  .sequence_order = view(DType::int32, Shape{max_sequences}),
                  .max_length = rows};
  batch.tokens = batch.targets = batch.residue_group = batch.type_group = view(DType::int32, Shape{rows});
  batch.residue_mask = view(DType::uint8, Shape{rows});
  batch.sequence_visit = view(DType::int64, Shape{max_sequences});
  batch.sequence_time = batch.sequence_weight = view(DType::float32, Shape{max_sequences});
  batch.latents = view(activation, Shape{rows, latent});
  return batch;
}

struct Plan {
  explicit Plan(Model& planned, DType activation_type = DType::float32)
      : model(planned),
        backend(backends::make_cpu_backend({.threads = 1, .plan_only = true})),
        activation(activation_type) {
    model.parameters().allocate(*backend, activation, true);
  }
  nn::StepContext context() {
    return {.backend = *backend,
            .arena = arena,
            .scalars = scalars,
            .activation = activation,
            .residual = activation,
            .recompute = recompute,
            .metrics = TensorView(nullptr, DType::float32, Shape{16})};
  }
  std::size_t training_bytes(const Batch& batch) {
    auto step = context();
    model.forward_backward(step, batch, ConstTensorView(nullptr, DType::float32, Shape{1}));
    return arena.peak_bytes();
  }

  Model& model;
  std::unique_ptr<Backend> backend;
  DType activation;
  nn::Recompute recompute = nn::Recompute::none;
  Arena arena{Device::host};
  StepScalars scalars{TensorView(nullptr, DType::float32, Shape{StepScalars::kSlots})};
};

TEST(Planning, AWalkOverShapesFindsTheMemoryOfARealStep) {
  for (const auto level : {nn::Recompute::none, nn::Recompute::pointwise, nn::Recompute::block})
    for (const std::string variant : {"nm", "tn", "mlm"}) {
      SCOPED_TRACE(variant);
      const auto config = testing::small_autoencoder(variant);
      const auto planned = build_autoencoder(config), real = build_autoencoder(config);
      Plan plan(*planned);
      plan.recompute = level;
      const auto bytes = plan.training_bytes(planned_batch(44, 6, 16, DType::float32));

      const auto backend = backends::make_reference_backend();
      ModelRun run(*real, *backend);
      run.run().recompute = level;
      initialise(*real, *backend, 1);
      const PackedBatch packed(testing::sample_sequences(), 44, 6);
      run.forward_backward(packed.batch());
      EXPECT_EQ(run.run().arena().peak_bytes(), bytes);
    }
}

TEST(Planning, RecomputationShrinksTheStepOfL) {
  AutoencoderConfig config;
  config.width = 1280;
  config.heads = 20;
  config.encoder_layers = config.decoder_layers = 16;
  std::vector<double> gibibytes;
  for (const auto level : {nn::Recompute::none, nn::Recompute::pointwise, nn::Recompute::block}) {
    const auto model = build_autoencoder(config);
    Plan plan(*model, DType::bfloat16);
    plan.recompute = level;
    gibibytes.push_back(static_cast<double>(plan.training_bytes(planned_batch(65536, 2048, 1280, DType::bfloat16))) /
                        (1 << 30));
  }
  EXPECT_GT(gibibytes[0], 70.0);  // 17 arrays of the width per block would fit no 80 GB card beside the optimizer
  EXPECT_LT(gibibytes[1], 0.7 * gibibytes[0]);
  EXPECT_LT(gibibytes[2], 0.2 * gibibytes[0]);
}

TEST(Planning, ModelsHaveTheSizesTheyAreNamedAfter) {
  const auto millions = [](std::int64_t width, std::int64_t heads, std::int64_t layers) {
    AutoencoderConfig config;
    config.width = width;
    config.heads = heads;
    config.encoder_layers = config.decoder_layers = layers;
    return static_cast<double>(build_autoencoder(config)->parameters().count()) / 1e6;
  };
  EXPECT_NEAR(millions(128, 4, 2), 0.8, 0.05);
  EXPECT_NEAR(millions(512, 8, 6), 38, 0.5);
  EXPECT_NEAR(millions(768, 12, 12), 170, 1.5);
  EXPECT_NEAR(millions(1280, 20, 16), 630, 3.0);
}

TEST(Planning, EmbeddingALongProteinTakesAFewGibibytesEvenForL) {
  AutoencoderConfig config;
  config.width = 1280;
  config.heads = 20;
  config.encoder_layers = config.decoder_layers = 16;
  const auto model = build_autoencoder(config);
  Plan plan(*model);
  auto step = plan.context();
  const auto z = model->encode(step, planned_batch(36000, 1, 1280, DType::float32));
  EXPECT_EQ(z.shape(), (Shape{36000, 1280}));
  EXPECT_EQ(plan.arena.mark(), static_cast<std::size_t>(z.bytes()));  // nothing else stays
  EXPECT_LT(plan.arena.peak_bytes(), std::size_t{3} << 30U);
}

TEST(Planning, Bfloat16TrainingStaysNearFloat32) {
  for (const std::string variant : {"nm", "tn", "mlm"}) {
    SCOPED_TRACE(variant);
    std::vector<double> losses;
    std::vector<std::vector<float>> gradients;
    for (const auto activation : {DType::float32, DType::bfloat16}) {
      const auto backend = backends::make_reference_backend();
      const auto model = build_autoencoder(testing::small_autoencoder(variant));
      ModelRun run(*model, *backend, activation);
      initialise(*model, *backend, 1);
      const PackedBatch packed(testing::sample_sequences(), 44, 6);
      run.forward_backward(packed.batch());
      losses.push_back(run.metric("loss", packed.batch()));
      gradients.push_back(run.gradients());
    }
    EXPECT_NEAR(losses[1], losses[0], 0.02 * losses[0]);
    double dot = 0.0, square0 = 0.0, square1 = 0.0;
    for (std::size_t i = 0; i < gradients[0].size(); ++i) {
      dot += static_cast<double>(gradients[0][i]) * gradients[1][i];
      square0 += std::pow(gradients[0][i], 2);
      square1 += std::pow(gradients[1][i], 2);
    }
    EXPECT_GT(dot / std::sqrt(square0 * square1), 0.998);
  }
}

}  // namespace
}  // namespace lsd::models
