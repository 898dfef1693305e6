// SPDX-License-Identifier: Apache-2.0
#include "lsd/models/denoiser.h"

#include <gtest/gtest.h>

#include "lsd/core/error.h"
#include "lsd/models/representations.h"
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
  // Neighbouring times give diffusion representations that point the same way.
  void expect_smooth_in_time(Denoiser& model, ModelRun& run) {
    std::vector<float> last;
    for (double t = 0.1; t < 0.76; t += 0.05) {
      auto step = run.run().context();
      const ArenaScope scope(step.arena);
      const RepresentationMap map(step.backend, {.representation = Representation::diffusion, .time = t}, 6);
      const auto batch = packed_.batch();
      const auto view = map.apply(step, &model, batch, batch.latents).span<float>();
      const std::vector<float> now(view.begin(), view.end());
      double dot = 0.0, square0 = 0.0, square1 = 0.0;
      for (std::size_t i = 0; i < last.size(); ++i) {
        dot += static_cast<double>(now[i]) * last[i];
        square0 += std::pow(now[i], 2);
        square1 += std::pow(last[i], 2);
      }
      if (!last.empty()) {
        EXPECT_GT(dot / std::sqrt(square0 * square1), 0.95) << t;
      }
      last = now;
    }
  }

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
  const auto backend = backends::make_cpu_backend({.threads = 1});
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

TEST_F(DenoiserTest, RepresentationsOfATrainedModelAreSmoothInTime) {
  auto config = small_denoiser();
  config.width = 32;
  const auto model = build_denoiser(config, kLatent);
  const auto backend = backends::make_cpu_backend({.threads = 1});
  ModelRun run(*model, *backend);
  initialise(*model, *backend, 1);
  const auto batch = packed_.batch();
  run.run().set_loss_scale(1.0F / static_cast<float>(batch.num_residues));
  testing::SmallAdamW optimizer(run, *backend, 3e-3F);
  std::mt19937 generator(5);
  for (int step = 0; step < 500; ++step) {
    for (auto& visit : packed_.visit) visit += 100;
    for (auto& time : packed_.time) time = std::uniform_real_distribution<float>(0.0F, 1.0F)(generator);
    run.zero_gradients();
    run.forward_backward(batch);
    optimizer.step();
  }
  expect_smooth_in_time(*model, run);
}

TEST(Denoiser, ImpossibleOptionsAreRefused) {
  auto config = small_denoiser();
  config.schedule = "quadratic";
  EXPECT_THROW(build_denoiser(config, kLatent), UserError);
  EXPECT_THROW(build_denoiser(small_denoiser(), 12), UserError);
}

}  // namespace
}  // namespace lsd::models
