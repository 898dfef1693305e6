// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/probe_statistics.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "lsd/core/error.h"
#include "lsd/core/philox.h"

namespace lsd::tasks {
namespace {

// Ranks from 1; equal values share the mean of their ranks.
std::vector<double> mean_ranks(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    const double rank = 0.5 * static_cast<double>(begin + end + 1);
    for (std::size_t i = begin; i < end; ++i) ranks[order[i]] = rank;
    begin = end;
  }
  return ranks;
}

struct ClassCounts {
  double label = 0.0, predicted = 0.0, correct = 0.0;
};

std::map<std::int64_t, ClassCounts> count_classes(std::span<const std::int64_t> prediction,
                                                  std::span<const std::int64_t> label) {
  check(prediction.size() == label.size() && !label.empty(), "as many predictions as labels, at least one");
  std::map<std::int64_t, ClassCounts> counts;
  for (std::size_t i = 0; i < label.size(); ++i) {
    counts[label[i]].label += 1.0;
    counts[prediction[i]].predicted += 1.0;
    if (label[i] == prediction[i]) counts[label[i]].correct += 1.0;
  }
  return counts;
}

}  // namespace

double pearson(std::span<const double> a, std::span<const double> b) {
  const auto n = static_cast<double>(a.size());
  const double mean_a = std::accumulate(a.begin(), a.end(), 0.0) / n;
  const double mean_b = std::accumulate(b.begin(), b.end(), 0.0) / n;
  double ab = 0.0, aa = 0.0, bb = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += (a[i] - mean_a) * (b[i] - mean_b);
    aa += (a[i] - mean_a) * (a[i] - mean_a);
    bb += (b[i] - mean_b) * (b[i] - mean_b);
  }
  return aa > 0.0 && bb > 0.0 ? ab / std::sqrt(aa * bb) : 0.0;
}

double spearman(std::span<const double> prediction, std::span<const double> label) {
  check(prediction.size() == label.size() && !label.empty(), "as many predictions as labels, at least one");
  return pearson(mean_ranks(prediction), mean_ranks(label));
}

double mean_absolute_error(std::span<const double> prediction, std::span<const double> label) {
  check(prediction.size() == label.size() && !label.empty(), "as many predictions as labels, at least one");
  double sum = 0.0;
  for (std::size_t i = 0; i < label.size(); ++i) sum += std::abs(prediction[i] - label[i]);
  return sum / static_cast<double>(label.size());
}

double accuracy(std::span<const std::int64_t> prediction, std::span<const std::int64_t> label) {
  check(prediction.size() == label.size() && !label.empty(), "as many predictions as labels, at least one");
  std::int64_t correct = 0;
  for (std::size_t i = 0; i < label.size(); ++i) correct += prediction[i] == label[i] ? 1 : 0;
  return static_cast<double>(correct) / static_cast<double>(label.size());
}

double matthews_correlation(std::span<const std::int64_t> prediction, std::span<const std::int64_t> label) {
  // Gorodkin (2004): (c s - sum_k p_k t_k) / sqrt((s^2 - sum_k p_k^2)(s^2 - sum_k t_k^2)), c correct of s.
  double correct = 0.0, product = 0.0, predicted_squares = 0.0, label_squares = 0.0;
  for (const auto& [name, count] : count_classes(prediction, label)) {
    correct += count.correct;
    product += count.predicted * count.label;
    predicted_squares += count.predicted * count.predicted;
    label_squares += count.label * count.label;
  }
  const auto all = static_cast<double>(label.size());
  const double spread = (all * all - predicted_squares) * (all * all - label_squares);
  return spread > 0.0 ? (correct * all - product) / std::sqrt(spread) : 0.0;
}

double macro_f1(std::span<const std::int64_t> prediction, std::span<const std::int64_t> label) {
  const auto counts = count_classes(prediction, label);
  double sum = 0.0;
  for (const auto& [name, count] : counts) sum += 2.0 * count.correct / (count.predicted + count.label);
  return sum / static_cast<double>(counts.size());
}

std::optional<double> area_under_curve(std::span<const double> score, std::span<const std::int64_t> label) {
  check(score.size() == label.size(), "as many scores as labels");
  // Mann-Whitney: (sum of the positives' mean ranks - n1 (n1 + 1) / 2) / (n1 n0).
  const auto ranks = mean_ranks(score);
  double positives = 0.0, rank_sum = 0.0;
  for (std::size_t i = 0; i < label.size(); ++i) {
    if (label[i] == 0) continue;
    positives += 1.0;
    rank_sum += ranks[i];
  }
  const double negatives = static_cast<double>(label.size()) - positives;
  if (positives == 0.0 || negatives == 0.0) return std::nullopt;
  return (rank_sum - 0.5 * positives * (positives + 1.0)) / (positives * negatives);
}

std::optional<double> macro_area_under_curve(std::span<const double> scores, std::int64_t classes,
                                             std::span<const std::int64_t> label) {
  check(scores.size() == label.size() * static_cast<std::size_t>(classes), "a score for every row and class");
  double sum = 0.0;
  std::int64_t counted = 0;
  std::vector<double> score(label.size());
  std::vector<std::int64_t> is_class(label.size());
  for (std::int64_t name = 0; name < classes; ++name) {
    for (std::size_t i = 0; i < label.size(); ++i) {
      score[i] = scores[i * static_cast<std::size_t>(classes) + static_cast<std::size_t>(name)];
      is_class[i] = label[i] == name ? 1 : 0;
    }
    if (const auto area = area_under_curve(score, is_class)) {
      sum += *area;
      ++counted;
    }
  }
  if (counted == 0) return std::nullopt;
  return sum / static_cast<double>(counted);
}

Interval middle_of(std::vector<double> values) {
  check(!values.empty(), "an interval needs values");
  std::sort(values.begin(), values.end());
  // Linear interpolation between order statistics, numpy.percentile's default.
  const auto percentile = [&](double part) {
    const double place = part * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(place);
    const auto above = std::min(below + 1, values.size() - 1);
    return values[below] + (place - static_cast<double>(below)) * (values[above] - values[below]);
  };
  return {percentile(0.025), percentile(0.975)};
}

void draw_rows(std::int64_t resample, std::uint32_t seed, std::span<std::int64_t> rows) {
  const RandomKey key = random_key(seed, RandomStream::bootstrap);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto word = random_word(key, static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(resample));
    rows[i] = bounded_from_word(word, static_cast<std::uint32_t>(rows.size()));
  }
}

Interval bootstrap_interval(std::int64_t count, std::int64_t resamples, std::uint32_t seed,
                            const std::function<double(std::span<const std::int64_t>)>& statistic) {
  check(count > 0 && resamples > 0, "a bootstrap needs rows and resamples");
  std::vector<std::int64_t> chosen(static_cast<std::size_t>(count));
  std::vector<double> values;
  values.reserve(static_cast<std::size_t>(resamples));
  for (std::int64_t resample = 0; resample < resamples; ++resample) {
    draw_rows(resample, seed, chosen);
    values.push_back(statistic(chosen));
  }
  return middle_of(std::move(values));
}

}  // namespace lsd::tasks
