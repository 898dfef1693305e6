// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/run_estimate.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "lsd/core/error.h"
#include "support/expect_error.h"

namespace lsd::train {
namespace {

const RunEstimate kRun{.parameters = 100'000'000,
                       .frozen_parameters = 50'000'000,
                       .steps_left = 1000,
                       .tokens_per_step = 1'000'000,
                       .ranks = 8,
                       .checkpoints_kept = 2,
                       .ema = true,
                       .memory_bytes = 3221225472};

// (6 x 1e8 + 2 x 5e7) x 1e6 x 1e3 = 7e17; 1e8 x 4 bytes x 4 blocks x 3 checkpoints = 4.8e9.
TEST(RunEstimate, OperationsAndDiskByHand) {
  EXPECT_DOUBLE_EQ(kRun.operations(), 7e17);
  EXPECT_DOUBLE_EQ(kRun.checkpoint_bytes(), 1.6e9);
  EXPECT_DOUBLE_EQ(kRun.disk_bytes(), 4.8e9);
}

// 7e17 / (8 x 12.5e12) = 7000 s, rounded to minutes.
TEST(RunEstimate, TimeAtAGivenRate) {
  const auto text = kRun.text(12.5);
  EXPECT_NE(text.find("1 h 57 min at 12.5 TFLOP/s on each of 8 ranks"), std::string::npos) << text;
  EXPECT_NE(text.find("3.0 GiB of memory on each rank"), std::string::npos) << text;
}

TEST(RunEstimate, WithoutARateItSaysSo) {
  EXPECT_NE(kRun.text(0.0).find("the time follows from the first steps"), std::string::npos);
}

TEST(RunEstimate, TheRateComesFromTheEnvironment) {
  ::unsetenv("LSD_TFLOPS");
  EXPECT_EQ(expected_tflops(), 0.0);
  ::setenv("LSD_TFLOPS", "250", 1);
  EXPECT_EQ(expected_tflops(), 250.0);
  ::setenv("LSD_TFLOPS", "fast", 1);
  testing::expect_error<UserError>([] { expected_tflops(); }, {"LSD_TFLOPS = 'fast'"});
  ::unsetenv("LSD_TFLOPS");
}

}  // namespace
}  // namespace lsd::train
