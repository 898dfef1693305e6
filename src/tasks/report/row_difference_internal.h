// SPDX-License-Identifier: Apache-2.0
#pragma once
// By how much one row of the table scores above another, and how sure that is.

#include <map>
#include <span>
#include <string>
#include <vector>

#include "../probe/probe_result_internal.h"

namespace lsd::tasks {

struct Difference {
  double mean = 0.0;
  Interval interval;    // 95 %
  bool paired = false;  // false: some result lacks its rows, and the far ends of both intervals were subtracted

  bool certain() const { return interval.low > 0.0; }
};

// What a row of the table is made of.
using Members = std::vector<const ProbeResult*>;

// A paired bootstrap: every resample draws test rows once for all results, so that both sides see the same ones, and
// with them head seeds of each side (models first, where several were pooled). What it holds are the scores of each
// result on each resample.
class Resampling {
 public:
  explicit Resampling(std::int64_t resamples) : resamples_(resamples) {}
  Difference difference(const Members& row, const Members& other);

 private:
  using Scores = std::vector<double>;  // [resamples]
  const Scores& scores_of(const ProbeResult& result);
  Scores means_of(const Members& members, std::uint32_t side);

  std::int64_t resamples_;
  std::map<const ProbeResult*, Scores> scores_;
};

// The score of a result on some of its test rows, in any order and any number of times: what a bootstrap asks for.
class RowScore {
 public:
  explicit RowScore(const ProbeResult& result);
  double operator()(std::span<const std::int64_t> rows);

 private:
  // Values as numbers of their place among the distinct ones, so that ranks of a resample need no sorting.
  struct Ordered {
    explicit Ordered(const std::vector<double>& values);
    void rank(std::span<const std::int64_t> rows, std::vector<double>& ranks);
    std::vector<std::size_t> place;
    std::vector<double> counts;
  };
  bool ranked_;
  std::vector<char> right_;  // of classes
  Ordered predictions_, labels_;
  std::vector<double> prediction_ranks_, label_ranks_;
};

}  // namespace lsd::tasks
