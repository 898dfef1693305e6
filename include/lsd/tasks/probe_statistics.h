// SPDX-License-Identifier: Apache-2.0
#pragma once
// Scores of predictions against labels, as scipy and scikit-learn define them, and their bootstrap intervals. Plain
// functions of their arguments: same values for any number of threads.

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lsd::tasks {

// 0 where undefined: one side is constant.
double pearson(std::span<const double> a, std::span<const double> b);
// Rank correlation with mean ranks on ties. 0 where it is undefined: one side is constant, so orders nothing.
double spearman(std::span<const double> prediction, std::span<const double> label);
double mean_absolute_error(std::span<const double> prediction, std::span<const double> label);

double accuracy(std::span<const std::int64_t> prediction, std::span<const std::int64_t> label);
// Matthews correlation; for several classes Gorodkin's R_K. 0 where undefined (one side is constant).
double matthews_correlation(std::span<const std::int64_t> prediction, std::span<const std::int64_t> label);
// Mean F1 over the classes that occur in either; a class without a hit counts 0.
double macro_f1(std::span<const std::int64_t> prediction, std::span<const std::int64_t> label);
// Area under the ROC curve, ties half; none when only one of the two classes occurs. label is 0 or 1.
std::optional<double> area_under_curve(std::span<const double> score, std::span<const std::int64_t> label);
// Mean over the classes of label of the area of one class against the rest. scores: [rows, classes] row by row.
std::optional<double> macro_area_under_curve(std::span<const double> scores, std::int64_t classes,
                                             std::span<const std::int64_t> label);

struct Interval {
  double low = 0.0, high = 0.0;
};
// The middle 95 % of values: numpy.percentile's default at 2.5 and 97.5.
Interval middle_of(std::vector<double> values);
// Numbers 0 .. count - 1 drawn with replacement, with RandomStream::bootstrap (element = place in the resample, visit =
// resample).
void draw_rows(std::int64_t resample, std::uint32_t seed, std::span<std::int64_t> rows);
// 95 % percentile interval of `statistic` over `resamples` draws with replacement of the numbers 0 .. count - 1.
Interval bootstrap_interval(std::int64_t count, std::int64_t resamples, std::uint32_t seed,
                            const std::function<double(std::span<const std::int64_t>)>& statistic);

}  // namespace lsd::tasks
