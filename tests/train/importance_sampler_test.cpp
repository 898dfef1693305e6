// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/importance_sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "lsd/core/error.h"

namespace lsd::train {
namespace {

// A loss that differs by a factor of 100 over t.
double loss_at(double t) {
  return 0.05 + 5.0 * t * t * t;
}

// Two full steps with ten losses in every bin, so that the lag has passed.
ImportanceSampler warmed_up() {
  ImportanceSampler sampler(ImportanceSampler::Kind::loss_rms);
  const auto ranks = dist::make_single_communicator();
  for (int step = 0; step < 2; ++step) {
    for (int bin = 0; bin < ImportanceSampler::kBins; ++bin)
      for (int i = 0; i < 10; ++i) {
        const double t = (bin + 0.5) / ImportanceSampler::kBins;
        sampler.observe(static_cast<float>(t), static_cast<float>(loss_at(t)));
      }
    sampler.finish_step(*ranks, false);
  }
  return sampler;
}

TEST(ImportanceSampler, IsUniformWithWeightOneUntilEveryBinHasTenLosses) {
  const ImportanceSampler sampler(ImportanceSampler::Kind::loss_rms);
  double sum = 0.0;
  for (std::uint64_t visit = 0; visit < 20000; ++visit) {
    const auto draw = sampler.draw(7, visit);
    ASSERT_GT(draw.time, 0.0F);
    ASSERT_LE(draw.time, 1.0F);
    EXPECT_NEAR(draw.weight, 1.0F, 1e-6);
    sum += draw.time;
  }
  EXPECT_NEAR(sum / 20000, 0.5, 0.01);  // standard error 0.002
}

TEST(ImportanceSampler, ProbabilitiesFollowTheRootMeanSquareWithOnePercentUniform) {
  const auto sampler = warmed_up();
  double total = 0.0;
  for (int bin = 0; bin < ImportanceSampler::kBins; ++bin) total += loss_at((bin + 0.5) / 100.0);
  for (int bin = 0; bin < ImportanceSampler::kBins; ++bin)
    EXPECT_NEAR(sampler.probabilities()[static_cast<std::size_t>(bin)],
                0.99 * loss_at((bin + 0.5) / 100.0) / total + 1e-4, 1e-7);
}

TEST(ImportanceSampler, IsUnbiasedAndHasMeanWeightOne) {
  const auto sampler = warmed_up();
  const int draws = 400000;
  double weighted = 0.0, weights = 0.0, squares = 0.0;
  for (std::uint64_t visit = 0; visit < draws; ++visit) {
    const auto draw = sampler.draw(11, visit);
    const double value = draw.weight * loss_at(draw.time);
    weighted += value;
    squares += value * value;
    weights += draw.weight;
  }
  const double mean = weighted / draws;
  const double error = std::sqrt((squares / draws - mean * mean) / draws);
  EXPECT_NEAR(mean, 0.05 + 5.0 / 4.0, 4.0 * error);  // the integral of the loss over [0, 1]
  EXPECT_LT(error, 0.002);                           // and far less noisy than uniform draws (error 0.0023 there)
  EXPECT_NEAR(weights / draws, 1.0, 0.02);
}

TEST(ImportanceSampler, UsesLossesAStepLater) {
  ImportanceSampler sampler(ImportanceSampler::Kind::loss_rms);
  const auto ranks = dist::make_single_communicator();
  for (int bin = 0; bin < ImportanceSampler::kBins; ++bin)
    for (int i = 0; i < 10; ++i)
      sampler.observe((static_cast<float>(bin) + 0.5F) / 100.0F, 1.0F + static_cast<float>(bin));
  sampler.finish_step(*ranks, false);
  EXPECT_FALSE(sampler.warmed_up());
  sampler.finish_step(*ranks, false);
  EXPECT_TRUE(sampler.warmed_up());
}

TEST(ImportanceSampler, SumsOverRanksLikeOneRank) {
  auto communicators = dist::make_thread_communicators(2);
  std::vector<ImportanceSampler> samplers(2, ImportanceSampler(ImportanceSampler::Kind::loss_rms));
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < 2; ++rank)
    threads.emplace_back([&, rank] {
      for (int step = 0; step < 2; ++step) {
        for (int bin = 0; bin < 100; ++bin)
          for (int i = 0; i < 5; ++i) {
            const double t = (bin + 0.5) / 100.0;
            samplers[rank].observe(static_cast<float>(t), static_cast<float>(loss_at(t)));
          }
        samplers[rank].finish_step(*communicators[rank], false);
      }
    });
  for (auto& thread : threads) thread.join();
  const auto alone = warmed_up();
  for (std::size_t bin = 0; bin < 100; ++bin) {
    EXPECT_EQ(samplers[0].probabilities()[bin], samplers[1].probabilities()[bin]);
    EXPECT_NEAR(samplers[0].probabilities()[bin], alone.probabilities()[bin], 1e-12);
  }
}

TEST(ImportanceSampler, ForgetsASkippedStep) {
  ImportanceSampler sampler(ImportanceSampler::Kind::loss_rms);
  const auto ranks = dist::make_single_communicator();
  sampler.observe(0.5F, std::nanf(""));
  sampler.finish_step(*ranks, true);
  sampler.finish_step(*ranks, false);
  for (const double value : sampler.state()) EXPECT_EQ(value, 0.0);
}

TEST(ImportanceSampler, StateGoesRoundTripAndRefusesAnotherSize) {
  auto sampler = warmed_up();
  sampler.observe(0.1F, 3.0F);
  const auto ranks = dist::make_single_communicator();
  sampler.finish_step(*ranks, false);  // leaves something pending
  ImportanceSampler other(ImportanceSampler::Kind::loss_rms);
  other.set_state(sampler.state());
  sampler.finish_step(*ranks, false);
  other.finish_step(*ranks, false);
  EXPECT_EQ(sampler.state(), other.state());
  for (std::uint64_t visit = 0; visit < 100; ++visit) EXPECT_EQ(sampler.draw(3, visit).time, other.draw(3, visit).time);
  EXPECT_THROW(other.set_state(std::vector<double>(7)), DataError);
}

TEST(ImportanceSampler, NoneIsAlwaysUniform) {
  ImportanceSampler sampler(ImportanceSampler::Kind::none);
  const auto draw = sampler.draw(5, 17);
  EXPECT_EQ(draw.weight, 1.0F);
  EXPECT_EQ(draw.time, ImportanceSampler::draw_uniform(5, 17).time);
}

}  // namespace
}  // namespace lsd::train
