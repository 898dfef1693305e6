// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/learning_rate.h"

#include <gtest/gtest.h>

namespace lsd::train {
namespace {

// Peak 4e-4, warm-up 100, end 1100: hand values at quarter points of the cosine (cos 45 degrees = 0.70710678).
TEST(LearningRate, HasHandWorkedValues) {
  const LearningRate rate{.peak = 4e-4, .warmup_steps = 100, .total_steps = 1100, .final_fraction = 0.1};
  EXPECT_DOUBLE_EQ(rate.at(1), 4e-6);
  EXPECT_DOUBLE_EQ(rate.at(50), 2e-4);
  EXPECT_DOUBLE_EQ(rate.at(100), 4e-4);
  EXPECT_NEAR(rate.at(350), 4e-4 * (0.1 + 0.9 * 0.5 * 1.7071067811865475), 1e-15);
  EXPECT_NEAR(rate.at(600), 4e-4 * 0.55, 1e-15);
  EXPECT_NEAR(rate.at(1100), 4e-5, 1e-15);
  EXPECT_NEAR(rate.at(5000), 4e-5, 1e-15);
}

TEST(LearningRate, NeedsNoWarmup) {
  const LearningRate rate{.peak = 1.0, .warmup_steps = 0, .total_steps = 10, .final_fraction = 0.0};
  EXPECT_GT(rate.at(1), 0.97);
  EXPECT_NEAR(rate.at(10), 0.0, 1e-12);
}

TEST(LearningRate, SurvivesARunShorterThanItsWarmup) {
  const LearningRate rate{.peak = 1.0, .warmup_steps = 10, .total_steps = 4, .final_fraction = 0.1};
  EXPECT_DOUBLE_EQ(rate.at(4), 0.4);
  EXPECT_DOUBLE_EQ(rate.at(10), 1.0);
}

}  // namespace
}  // namespace lsd::train
