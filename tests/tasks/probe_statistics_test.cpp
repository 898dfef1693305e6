// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/probe_statistics.h"

#include <gtest/gtest.h>

#include <numeric>

namespace lsd::tasks {
namespace {

using Labels = std::vector<std::int64_t>;
using Values = std::vector<double>;

// scipy.stats.spearmanr([.1,.4,.4,.8,-1,2.5,.4], [1,3,2,3,0,7,3])[0]
TEST(ProbeStatistics, SpearmanSharesRanksOnTies) {
  const Values prediction = {0.1, 0.4, 0.4, 0.8, -1.0, 2.5, 0.4}, label = {1, 3, 2, 3, 0, 7, 3};
  EXPECT_NEAR(spearman(prediction, label), 0.9230769230769231, 1e-14);
}

TEST(ProbeStatistics, SpearmanOfMonotoneMapsIsOne) {
  const Values x = {1, 2, 3, 4}, up = {1, 8, 27, 64}, down = {4, 3, 2, 1}, flat = {5, 5, 5, 5};
  EXPECT_DOUBLE_EQ(spearman(x, up), 1.0);
  EXPECT_DOUBLE_EQ(spearman(x, down), -1.0);
  EXPECT_EQ(spearman(flat, up), 0.0);
  EXPECT_DOUBLE_EQ(mean_absolute_error(x, up), (0 + 6 + 24 + 60) / 4.0);
}

// sklearn.metrics: accuracy_score, matthews_corrcoef, f1_score(average="macro", zero_division=0) of
// y_true = [0,1,2,2,1,0,3,2], y_pred = [0,2,2,2,1,1,0,4]
TEST(ProbeStatistics, ClassScoresOfSeveralClasses) {
  const Labels label = {0, 1, 2, 2, 1, 0, 3, 2}, prediction = {0, 2, 2, 2, 1, 1, 0, 4};
  EXPECT_DOUBLE_EQ(accuracy(prediction, label), 0.5);
  EXPECT_NEAR(matthews_correlation(prediction, label), 0.32608695652173914, 1e-14);
  EXPECT_NEAR(macro_f1(prediction, label), 1.0 / 3.0, 1e-14);
}

// matthews_corrcoef([0,0,1,1,1,0], [0,1,0,1,1,0])
TEST(ProbeStatistics, MatthewsCorrelationOfTwoClasses) {
  const Labels label = {0, 0, 1, 1, 1, 0}, prediction = {0, 1, 0, 1, 1, 0}, constant = {1, 1, 1, 1, 1, 1};
  EXPECT_NEAR(matthews_correlation(prediction, label), 1.0 / 3.0, 1e-14);
  EXPECT_EQ(matthews_correlation(constant, label), 0.0);
}

// roc_auc_score([0,0,1,1,1,0], [.1,.4,.35,.8,.4,.4])
TEST(ProbeStatistics, AreaUnderCurveCountsTiesHalf) {
  const Values score = {0.1, 0.4, 0.35, 0.8, 0.4, 0.4};
  EXPECT_NEAR(*area_under_curve(score, Labels{0, 0, 1, 1, 1, 0}), 2.0 / 3.0, 1e-14);
  EXPECT_FALSE(area_under_curve(score, Labels{1, 1, 1, 1, 1, 1}).has_value());
}

// roc_auc_score([0,1,2,1,2,0], S, multi_class="ovr", average="macro") with the rows of S below
TEST(ProbeStatistics, MacroAreaIsTheMeanOfOneAgainstRest) {
  const Values scores = {.7, .2, .1, .3, .4, .3, .2, .2, .6, .1, .5, .4, .5, .25, .25, .3, .3, .4};
  EXPECT_NEAR(*macro_area_under_curve(scores, 3, Labels{0, 1, 2, 1, 2, 0}), 0.8125, 1e-14);
}

TEST(ProbeStatistics, BootstrapIntervalOfAMeanIsAboutTwoStandardErrors) {
  Values values(400);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = i % 4 == 0 ? 1.0 : 0.0;  // mean 0.25, error 0.02165
  const auto mean = [&](std::span<const std::int64_t> rows) {
    double sum = 0.0;
    for (const auto row : rows) sum += values[static_cast<std::size_t>(row)];
    return sum / static_cast<double>(rows.size());
  };
  const Interval interval = bootstrap_interval(400, 2000, 7, mean);
  EXPECT_NEAR(interval.low, 0.25 - 1.96 * 0.02165, 0.006);
  EXPECT_NEAR(interval.high, 0.25 + 1.96 * 0.02165, 0.006);
  EXPECT_EQ(bootstrap_interval(400, 2000, 7, mean).low, interval.low);
}

TEST(ProbeStatistics, BootstrapDrawsEveryRow) {
  std::vector<int> seen(10);
  bootstrap_interval(10, 50, 3, [&](std::span<const std::int64_t> rows) {
    for (const auto row : rows) ++seen[static_cast<std::size_t>(row)];
    return 0.0;
  });
  EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), 500);
  for (const int count : seen) EXPECT_GT(count, 20);
}

}  // namespace
}  // namespace lsd::tasks
