// SPDX-License-Identifier: Apache-2.0
// The moving average of a diffusion model's weights: its decay after n updates is min(0.9999, (1 + n) / (10 + n)), and
// validation is done with it.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/model_step.h"
#include "train/small_trainer.h"

namespace lsd::train {
namespace {

using testing::DrawnSequence;
using testing::kKnownWidth;
using testing::known_latent;
using testing::SmallTrainer;

class MovingAverage : public ::testing::Test {
 protected:
  static TrainerOptions options(double learning_rate) {
    TrainerOptions options;
    options.learning_rate = {.peak = learning_rate, .warmup_steps = 1, .total_steps = 1000};
    options.seed = testing::kTinySeed;
    return options;
  }
  void take_step(SmallTrainer& small) {
    auto step = loader_.next();
    small.trainer.step(*step);
    loader_.recycle(std::move(*step));
  }
  // Masters stay as they are at learning rate 0. An average that starts at 0 then has 1 - (product of the decays) of
  // them.
  static void start_average_at_zero(SmallTrainer& small) {
    const auto elements = static_cast<std::size_t>(small.model->parameters().elements());
    small.optimizer.load(small.optimizer.ema(), std::vector<float>(elements, 0.0F));
  }
  static void expect_part_of_masters(const SmallTrainer& small, double part, double tolerance) {
    const auto masters = small.block(small.optimizer.masters()), average = small.block(small.optimizer.ema());
    int compared = 0;
    for (std::size_t i = 0; i < masters.size(); ++i) {
      if (std::abs(masters[i]) < 0.01F) continue;
      ASSERT_NEAR(average[i] / masters[i], part, tolerance) << i;
      ++compared;
    }
    EXPECT_GT(compared, 1000);
  }

  data::BatchLoader loader_{testing::tiny_source(), testing::tiny_loader({.micro_batches = 1}, 0, 1)};
};

TEST_F(MovingAverage, FollowsTheMastersOfEveryUpdate) {
  SmallTrainer small({.build = testing::build_known_denoiser, .options = options(5e-3), .ema = true});
  const auto before = small.block(small.optimizer.masters());
  std::vector<double> expected(before.begin(), before.end());
  for (int n = 1; n <= 6; ++n) {
    take_step(small);
    const auto masters = small.block(small.optimizer.masters()), average = small.block(small.optimizer.ema());
    const double decay = (1.0 + n) / (10.0 + n);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      expected[i] = decay * expected[i] + (1.0 - decay) * masters[i];
      ASSERT_NEAR(average[i], expected[i], 1e-6) << "element " << i << " after " << n << " updates";
    }
  }
  EXPECT_NE(before, small.block(small.optimizer.masters()));
}

// 2/11 x 3/12 x 4/13 = 2/143.
TEST_F(MovingAverage, ForgetsItsStartByTheDecaysOfTheFirstUpdates) {
  SmallTrainer small({.build = testing::build_known_denoiser, .options = options(0.0), .ema = true});
  start_average_at_zero(small);
  for (int n = 1; n <= 3; ++n) take_step(small);
  expect_part_of_masters(small, 141.0 / 143.0, 1e-5);
}

// (1 + n) / (10 + n) is 1 - 9e-6 there.
TEST_F(MovingAverage, TheDecayEndsAtFourNines) {
  SmallTrainer small({.build = testing::build_known_denoiser, .options = options(0.0), .ema = true});
  small.trainer.state().optimizer_steps = 1'000'000;
  start_average_at_zero(small);
  take_step(small);
  expect_part_of_masters(small, 1e-4, 1e-6);
}

// The second of three steps is skipped: 2/11 x 3/12 = 1/22.
TEST_F(MovingAverage, ASkippedStepIsNoUpdate) {
  SmallTrainer small({.build = testing::build_known_denoiser, .options = options(0.0), .ema = true});
  start_average_at_zero(small);
  auto& latents = dynamic_cast<testing::KnownLatentsModel&>(*small.model);
  for (const float factor : {1.0F, std::numeric_limits<float>::quiet_NaN(), 1.0F}) {
    latents.factor = factor;
    take_step(small);
  }
  ASSERT_EQ(small.trainer.state().skipped.size(), 1U);
  expect_part_of_masters(small, 21.0 / 22.0, 1e-5);
}

// The average predicts 0, which gives losses known by hand; the masters are any other weights.
TEST_F(MovingAverage, ValidationIsDoneWithItAndLeavesTheMastersInUse) {
  constexpr std::uint32_t kRunSeed = 21;
  ImportanceSampler sampler(ImportanceSampler::Kind::none);
  SmallTrainer small(
      {.build = testing::build_known_denoiser, .options = options(5e-3), .ema = true, .sampler = &sampler});
  auto& optimizer = small.optimizer;
  const auto average = small.block(optimizer.ema());
  const auto masters = testing::random_values(average.size(), 0.3F, 5);
  optimizer.initialise(masters);
  optimizer.load(optimizer.ema(), average);

  const auto source = testing::even_source(10, 20);
  const auto values = validate(small.trainer, {.source = source,
                                               .loader = testing::tiny_loader({}, 0, 1),
                                               .micro_batches = 8,
                                               .fixed_times = {0.5},
                                               .run_seed = kRunSeed});
  double drawn = 0.0, fixed = 0.0;  // in record order: visits are records
  for (std::int64_t record = 0; record < source->size(); ++record) {
    const DrawnSequence sequence{validation_seed(kRunSeed), record, 20};
    const auto loss_at = [&](double t) {
      return testing::squared_target(sequence, kKnownWidth, testing::cosine_mix(t), known_latent) / (10 * 20);
    };
    drawn += loss_at(sequence.uniform(0));
    fixed += loss_at(0.5);
  }
  EXPECT_NEAR(SmallTrainer::value_of(values, "loss"), drawn, 1e-5 * drawn);
  EXPECT_NEAR(SmallTrainer::value_of(values, "loss@0.5"), fixed, 1e-5 * fixed);
  const auto in_use = small.model->parameters().compute_block().span<float>();
  EXPECT_TRUE(std::ranges::equal(in_use, masters)) << "training goes on with the masters";
}

}  // namespace
}  // namespace lsd::train
