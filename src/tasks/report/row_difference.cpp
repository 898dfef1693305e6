// SPDX-License-Identifier: Apache-2.0
#include "row_difference_internal.h"

#include <algorithm>
#include <numeric>

#include "lsd/core/error.h"
#include "lsd/core/philox.h"
#include "lsd/tasks/probe_statistics.h"

namespace lsd::tasks {
namespace {

constexpr std::uint32_t kSeed = 1;  // of the resamples: the same rows for every result

double mean_of(const Members& members, double (*value)(const ProbeResult&)) {
  double sum = 0.0;
  for (const auto* result : members) sum += value(*result);
  return sum / static_cast<double>(members.size());
}

bool has_rows(const Members& members) {
  return std::ranges::all_of(members, [](const auto* result) { return !result->predictions.empty(); });
}

}  // namespace

RowScore::Ordered::Ordered(const std::vector<double>& values) {
  auto distinct = values;
  std::ranges::sort(distinct);
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  for (const double value : values)
    place.push_back(static_cast<std::size_t>(std::ranges::lower_bound(distinct, value) - distinct.begin()));
  counts.resize(distinct.size());
}

// Ranks from 1; equal values share the mean of their ranks.
void RowScore::Ordered::rank(std::span<const std::int64_t> rows, std::vector<double>& ranks) {
  std::ranges::fill(counts, 0.0);
  for (const auto row : rows) counts[place[static_cast<std::size_t>(row)]] += 1.0;
  double before = 0.0;
  for (double& count : counts) {
    const double rank = before + 0.5 * (count + 1.0);
    before += count;
    count = rank;
  }
  ranks.resize(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) ranks[i] = counts[place[static_cast<std::size_t>(rows[i])]];
}

RowScore::RowScore(const ProbeResult& result)
    : ranked_(result.metric == "spearman"), predictions_(result.predictions), labels_(result.labels) {
  for (std::size_t i = 0; i < result.labels.size(); ++i)
    right_.push_back(result.predictions[i] == result.labels[i] ? 1 : 0);
}

double RowScore::operator()(std::span<const std::int64_t> rows) {
  if (ranked_) {
    predictions_.rank(rows, prediction_ranks_);
    labels_.rank(rows, label_ranks_);
    return pearson(prediction_ranks_, label_ranks_);
  }
  std::int64_t right = 0;
  for (const auto row : rows) right += right_[static_cast<std::size_t>(row)];
  return static_cast<double>(right) / static_cast<double>(rows.size());
}

const Resampling::Scores& Resampling::scores_of(const ProbeResult& result) {
  auto& scores = scores_[&result];
  if (!scores.empty()) return scores;
  RowScore score(result);
  std::vector<std::int64_t> rows(result.labels.size());
  for (std::int64_t resample = 0; resample < resamples_; ++resample) {
    draw_rows(resample, kSeed, rows);
    scores.push_back(score(rows));
  }
  return scores;
}

// Of each resample, the mean over as many results as there are, drawn with replacement: models, and results of each.
Resampling::Scores Resampling::means_of(const Members& members, std::uint32_t side) {
  std::map<std::string, std::vector<const Scores*>> by_model;
  for (const auto* result : members) by_model[result->weights].push_back(&scores_of(*result));
  std::vector<std::vector<const Scores*>> models;
  for (auto& [weights, scores] : by_model) models.push_back(std::move(scores));
  const RandomKey key = random_key(kSeed, RandomStream::bootstrap);
  Scores means;
  for (std::size_t resample = 0; resample < static_cast<std::size_t>(resamples_); ++resample) {
    std::uint32_t drawn = 0;
    const auto draw = [&](std::size_t bound) {  // draws 1 and 2: rows have 0
      return bounded_from_word(random_word(key, drawn++, resample, 1 + side), static_cast<std::uint32_t>(bound));
    };
    double sum = 0.0;
    std::size_t count = 0;
    for (std::size_t i = 0; i < models.size(); ++i) {
      const auto& model = models[draw(models.size())];
      for (std::size_t j = 0; j < model.size(); ++j) sum += (*model[draw(model.size())])[resample];
      count += model.size();
    }
    means.push_back(sum / static_cast<double>(count));
  }
  return means;
}

Difference Resampling::difference(const Members& row, const Members& other) {
  const auto score = [](const ProbeResult& result) { return result.test_score; };
  const auto low = [](const ProbeResult& result) { return result.interval.low; };
  const auto high = [](const ProbeResult& result) { return result.interval.high; };
  Difference difference{.mean = mean_of(row, score) - mean_of(other, score)};
  if (!has_rows(row) || !has_rows(other)) {
    difference.interval = {mean_of(row, low) - mean_of(other, high), mean_of(row, high) - mean_of(other, low)};
    return difference;
  }
  auto means = means_of(row, 0);
  const auto others = means_of(other, 1);
  std::ranges::transform(means, others, means.begin(), std::minus<>());
  difference.interval = middle_of(std::move(means));
  difference.paired = true;
  return difference;
}

}  // namespace lsd::tasks
