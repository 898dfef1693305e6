// SPDX-License-Identifier: Apache-2.0
// What the importance sampler keeps of several different losses of one bin, worked out by hand.

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "lsd/train/importance_sampler.h"

namespace lsd::train {
namespace {

constexpr std::size_t kBin = 30;
constexpr float kInBin = 0.305F;

class SamplerOfOneBin : public ::testing::Test {
 protected:
  // Every bin has seen ten losses of 1.
  SamplerOfOneBin() {
    std::vector<double> state(400, 0.0);
    for (std::size_t bin = 0; bin < 100; ++bin) {
      state[bin] = 1.0;
      state[100 + bin] = 10.0;
    }
    sampler_.set_state(state);
  }
  void step(const std::vector<float>& losses) {
    for (const float loss : losses) sampler_.observe(kInBin, loss);
    sampler_.finish_step(*ranks_, false);
  }
  // The bin's root mean square is `rms`, that of the other 99 bins is 1.
  void expect_rms(double rms) {
    step({});  // losses count a step later
    for (std::size_t bin = 0; bin < 100; ++bin)
      EXPECT_NEAR(sampler_.probabilities()[bin], 0.99 * (bin == kBin ? rms : 1.0) / (99.0 + rms) + 1e-4, 1e-12) << bin;
  }

  std::unique_ptr<dist::HostCommunicator> ranks_ = dist::make_single_communicator();
  ImportanceSampler sampler_{ImportanceSampler::Kind::loss_rms};
};

// Their mean square is (1 + 49) / 2 = 25, their mean 4. Two losses keep 0.99^2 = 0.9801 of what was there before:
// 0.9801 x 1 + 0.0199 x 25 = 1.4776.
TEST_F(SamplerOfOneBin, TwoLossesOfAStepCountByTheirMeanSquare) {
  step({1.0F, 7.0F});
  expect_rms(std::sqrt(1.4776));
}

// 0.99 x 1 + 0.01 x 9 = 1.08, then 0.99 x 1.08 + 0.01 x 0 = 1.0692.
TEST_F(SamplerOfOneBin, EachLossKeepsNinetyNinePercentOfTheMeanSquareBeforeIt) {
  step({3.0F});
  step({0.0F});
  expect_rms(std::sqrt(1.0692));
}

// Nothing comes before the first losses, so that they are not mixed with a start at 0: five of 1 and five of 7 have the
// root mean square 5, and ten of 2 have 2.
TEST(ImportanceSampler, TheFirstLossesOfABinAreItsRootMeanSquare) {
  const auto ranks = dist::make_single_communicator();
  ImportanceSampler sampler(ImportanceSampler::Kind::loss_rms);
  for (std::size_t bin = 0; bin < 100; ++bin)
    for (int i = 0; i < 10; ++i) {
      const float of_bin = i % 2 == 0 ? 1.0F : 7.0F;
      sampler.observe((static_cast<float>(bin) + 0.5F) / 100.0F, bin == kBin ? of_bin : 2.0F);
    }
  sampler.finish_step(*ranks, false);
  sampler.finish_step(*ranks, false);
  for (std::size_t bin = 0; bin < 100; ++bin)
    EXPECT_NEAR(sampler.probabilities()[bin], 0.99 * (bin == kBin ? 5.0 : 2.0) / (99 * 2.0 + 5.0) + 1e-4, 1e-12) << bin;
}

}  // namespace
}  // namespace lsd::train
