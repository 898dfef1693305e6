// SPDX-License-Identifier: Apache-2.0
#include "lsd/models/denoiser.h"

#include <gtest/gtest.h>

#include "lsd/core/error.h"
#include "model_run.h"
#include "support/recording_hooks.h"

namespace lsd::models {
namespace {

using testing::ModelRun;
using testing::PackedBatch;

constexpr std::int64_t kLatent = 8;

DenoiserConfig small_denoiser() {
  DenoiserConfig config;
  config.width = 16;
  config.heads = 2;
  config.layers = 2;
  config.time_features = 16;
  config.gelu = "erf";
  return config;
}

PackedBatch latent_batch() {
  PackedBatch packed(testing::sample_sequences(), 44, 6);
  packed.latents = testing::random_values(44 * kLatent, 1.0F, 9);
  packed.time = {0.1F, 0.45F, 0.8F, 0.97F, 0.0F, 0.0F};
  packed.weight = {0.5F, 1.5F, 1.0F, 2.0F, 1.0F, 1.0F};
  return packed;
}

class DenoiserTest : public ::testing::Test {
 protected:
  std::unique_ptr<Backend> backend_ = backends::make_reference_backend();
  std::unique_ptr<Denoiser> model_ = build_denoiser(small_denoiser(), kLatent);
  ModelRun run_{*model_, *backend_};
  PackedBatch packed_ = latent_batch();
};

TEST_F(DenoiserTest, GradientsMatchDifferencesOfTheWeightedLoss) {
  testing::randomise(model_->parameters(), 0.25F, 5);
  const auto batch = packed_.batch();
  constexpr float kLossScale = 0.05F;
  run_.run().set_loss_scale(kLossScale);
  run_.forward_backward(batch);
  const auto loss = [&] {
    run_.evaluate(batch);
    return kLossScale * static_cast<double>(run_.run().metrics[0]);
  };
  testing::expect_parameter_gradients_match(model_->parameters(), loss, {.step = 1e-3, .relative = 4e-3});
}

TEST_F(DenoiserTest, StartsAsTheZeroFunction) {
  initialise(*model_, *backend_, 1);
  auto step = run_.run().context();
  const ArenaScope scope(step.arena);
  const auto batch = packed_.batch();
  for (const float v : model_->velocity(step, batch.layout, batch.latents, batch.sequence_time).span<float>())
    EXPECT_EQ(v, 0.0F);
}

// With v = 0 the loss of a residue is the mean square of its target, whose expectation is 1 for unit latents.
TEST_F(DenoiserTest, SequenceLossesAreUnweightedMeansAndAddUpToTheMetrics) {
  testing::randomise(model_->parameters(), 0.25F, 5);
  const auto batch = packed_.batch();
  run_.forward_backward(batch);
  const auto losses = model_->sequence_losses().span<float>();
  ASSERT_EQ(losses.size(), 6U);
  const std::vector<double> residues{13, 9, 7, 1};  // <cls>, <eos> and nothing else are left out
  double weighted = 0.0, unweighted = 0.0;
  for (std::size_t s = 0; s < residues.size(); ++s) {
    weighted += residues[s] * packed_.weight[s] * losses[s];
    unweighted += residues[s] * losses[s];
  }
  EXPECT_NEAR(run_.run().metrics[0], weighted, 1e-5 * weighted);
  EXPECT_NEAR(run_.run().metrics[1], unweighted, 1e-5 * unweighted);
  EXPECT_EQ(losses[4], 0.0F);
}

TEST_F(DenoiserTest, RecomputationChangesNoBit) {
  testing::randomise(model_->parameters(), 0.25F, 5);
  std::vector<std::vector<float>> gradients;
  for (const auto level : {nn::Recompute::none, nn::Recompute::pointwise, nn::Recompute::block}) {
    run_.run().recompute = level;
    run_.zero_gradients();
    run_.forward_backward(packed_.batch());
    gradients.push_back(run_.gradients());
  }
  EXPECT_EQ(gradients[1], gradients[0]);
  EXPECT_EQ(gradients[2], gradients[0]);
}

TEST_F(DenoiserTest, EachGradientIsReportedFinalOnceWhenItIs) {
  testing::randomise(model_->parameters(), 0.25F, 5);
  testing::RecordingHooks hooks(model_->parameters());
  run_.run().hooks = &hooks;
  run_.forward_backward(packed_.batch());
  hooks.expect_whole_block_final_once();
}

TEST_F(DenoiserTest, AFixedTimeReplacesEverySequencesTime) {
  testing::randomise(model_->parameters(), 0.25F, 5);
  run_.evaluate(packed_.batch(), 0.3F);
  const auto fixed = run_.run().metrics;
  packed_.time.assign(6, 0.3F);
  run_.evaluate(packed_.batch());
  EXPECT_EQ(run_.run().metrics, fixed);
}

TEST_F(DenoiserTest, OneBatchIsLearntByHeart) {
  const auto backend = backends::make_reference_backend();
  auto config = small_denoiser();
  config.width = 32;
  const auto model = build_denoiser(config, kLatent);
  ModelRun run(*model, *backend);
  initialise(*model, *backend, 1);
  const auto batch = packed_.batch();
  run.run().set_loss_scale(1.0F / static_cast<float>(batch.num_residues));
  testing::SmallAdamW optimizer(run, *backend, 1e-2F);
  run.evaluate(batch);
  const double before = run.metric("loss", batch);
  for (int step = 0; step < 300; ++step) {
    run.zero_gradients();
    run.forward_backward(batch);
    optimizer.step();
  }
  run.evaluate(batch);
  EXPECT_LT(run.metric("loss", batch), 0.01 * before);
}

TEST(Denoiser, ImpossibleOptionsAreRefused) {
  auto config = small_denoiser();
  config.schedule = "quadratic";
  EXPECT_THROW(build_denoiser(config, kLatent), UserError);
  EXPECT_THROW(build_denoiser(small_denoiser(), 12), UserError);
}

}  // namespace
}  // namespace lsd::models
