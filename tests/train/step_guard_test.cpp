// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/step_guard.h"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>

#include "lsd/core/error.h"

namespace lsd::train {
namespace {

// Losses 9 and 11 in turn (mean 10, deviation 1) and norms of e^-1 and e^1 (mean of the logarithm 0, deviation 1).
StepGuard filled(GuardOptions options) {
  StepGuard guard(options);
  for (std::int64_t i = 0; i < options.window; ++i) guard.judge(i % 2 == 0 ? 9.0 : 11.0, std::exp(i % 2 == 0 ? -1 : 1));
  return guard;
}

TEST(StepGuard, CountsSpreadsAboveTheWindowsMean) {
  auto guard = filled({.window = 10, .loss_z = 3.0, .gradient_z = 4.0});
  const auto judged = guard.judge(12.5, std::exp(3.5));
  EXPECT_NEAR(judged.loss_z, 2.5, 1e-12);
  EXPECT_NEAR(judged.gradient_z, 3.5, 1e-12);
  EXPECT_EQ(judged.verdict, Verdict::good);
  guard = filled({.window = 10, .loss_z = 3.0, .gradient_z = 4.0});
  EXPECT_EQ(guard.judge(13.01, 1.0).verdict, Verdict::loss_spike);
  EXPECT_EQ(guard.judge(10.0, std::exp(4.01)).verdict, Verdict::gradient_spike);
  EXPECT_EQ(guard.judge(12.99, std::exp(3.99)).verdict, Verdict::good);
}

TEST(StepGuard, FallsBelowAreNoSpikes) {
  auto guard = filled({.window = 10, .loss_z = 3.0, .gradient_z = 3.0});
  EXPECT_EQ(guard.judge(0.0, 0.0).verdict, Verdict::good);
}

TEST(StepGuard, ASpikeLeavesNoTraceInTheWindow) {
  auto guard = filled({.window = 10, .loss_z = 3.0, .gradient_z = 0.0});
  const auto before = guard.state();
  for (int i = 0; i < 5; ++i) EXPECT_EQ(guard.judge(100.0, 1.0).verdict, Verdict::loss_spike);
  EXPECT_EQ(guard.judge(std::numeric_limits<double>::infinity(), 1.0).verdict, Verdict::not_finite);
  EXPECT_EQ(guard.state(), before);
}

TEST(StepGuard, BeforeTheWindowIsFullOnlyWhatIsNotFiniteIsRefused) {
  StepGuard guard({.window = 8, .loss_z = 1.0, .gradient_z = 1.0});
  for (int i = 0; i < 8; ++i) EXPECT_EQ(guard.judge(std::pow(10.0, i), std::pow(10.0, i)).verdict, Verdict::good);
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    StepGuard fresh({.window = 8});
    EXPECT_EQ(fresh.judge(bad, 1.0).verdict, Verdict::not_finite);
    EXPECT_EQ(fresh.judge(1.0, bad).verdict, Verdict::not_finite);
    EXPECT_TRUE(fresh.state().empty());
  }
}

// A constant course has no spread: changes are measured against 2 % of the loss and a tenth of the logarithm.
TEST(StepGuard, AVerySteadyCourseIsNotTouchy) {
  StepGuard guard({.window = 8, .loss_z = 8.0, .gradient_z = 8.0});
  for (int i = 0; i < 8; ++i) guard.judge(2.5, 1.0);
  EXPECT_EQ(guard.judge(2.5 * 1.159, 1.0).verdict, Verdict::good);
  EXPECT_EQ(guard.judge(2.5 * 1.6, 1.0).verdict, Verdict::loss_spike);
  EXPECT_EQ(guard.judge(2.5, std::exp(0.79)).verdict, Verdict::good);
  EXPECT_EQ(guard.judge(2.5, std::exp(4.0)).verdict, Verdict::gradient_spike);
}

TEST(StepGuard, ZeroSwitchesASignOff) {
  auto guard = filled({.window = 10, .loss_z = 0.0, .gradient_z = 0.0});
  EXPECT_EQ(guard.judge(1e9, 1e9).verdict, Verdict::good);
  EXPECT_EQ(guard.judge(std::nan(""), 1.0).verdict, Verdict::not_finite);
}

TEST(StepGuard, GoesOnFromItsState) {
  auto guard = filled({.window = 10});
  guard.judge(10.25, 1.5);
  StepGuard other({.window = 10});
  other.set_state(guard.state());
  EXPECT_EQ(other.state(), guard.state());
  const auto a = guard.judge(13.0, 2.0), b = other.judge(13.0, 2.0);
  EXPECT_EQ(a.loss_z, b.loss_z);
  EXPECT_EQ(a.gradient_z, b.gradient_z);
  StepGuard narrow({.window = 8});
  narrow.set_state(guard.state());
  EXPECT_EQ(narrow.state().size(), 16U);
  EXPECT_EQ(narrow.state().back(), guard.state().back()) << "the newest steps stay";
  EXPECT_THROW(narrow.set_state(std::vector<double>(3)), DataError);
}

}  // namespace
}  // namespace lsd::train
