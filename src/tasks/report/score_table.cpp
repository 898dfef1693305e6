// SPDX-License-Identifier: Apache-2.0
#include "score_table_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <tuple>

#include "lsd/core/error.h"

namespace lsd::tasks {
namespace {

using Key = std::tuple<std::string, bool, std::string, std::string, double, std::string, std::int64_t, std::string>;

bool is_baseline(const ProbeResult& result) {
  return result.model == "baseline";
}

Key key_of(const ProbeResult& result) {
  return {result.task, !is_baseline(result), result.model, result.representation,
          result.time, result.input,         result.draws, result.head};
}

ScoreRow row_of(const std::vector<const ProbeResult*>& results) {
  const auto& first = *results.front();
  ScoreRow row{.task = first.task,
               .model = first.model,
               .representation = first.representation,
               .input = first.input,
               .head = first.head,
               .metric = first.metric,
               .time = first.time,
               .draws = first.draws,
               .test_rows = first.test_rows,
               .seeds = static_cast<std::int64_t>(results.size()),
               .baseline = is_baseline(first)};
  const auto n = static_cast<double>(results.size());
  for (const auto* result : results) {
    row.mean += result->test_score / n;
    row.valid_mean += result->valid_score / n;
    row.interval.low += result->interval.low / n;
    row.interval.high += result->interval.high / n;
    for (const auto& [name, value] : result->test) {
      auto& sum = row.test.try_emplace(name, 0.0).first->second;
      sum = sum && value ? std::optional(*sum + *value / n) : std::nullopt;
    }
  }
  for (const auto* result : results) row.deviation += (result->test_score - row.mean) * (result->test_score - row.mean);
  row.deviation = results.size() > 1 ? std::sqrt(row.deviation / (n - 1.0)) : 0.0;
  return row;
}

}  // namespace

std::vector<ProbeResult> collect_results(const std::vector<std::string>& folders) {
  std::vector<std::filesystem::path> files;
  for (const auto& folder : folders) {
    if (!std::filesystem::is_directory(folder))
      throw UserError(folder + " is no folder: give folders of probe results");
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
      if (entry.is_regular_file() && entry.path().extension() == ".json") files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  std::set<std::string> seen;
  std::vector<ProbeResult> results;
  for (const auto& file : files) {
    auto result = read_result(file);
    if (result && seen.insert(result->fingerprint + result->task + result->model).second)
      results.push_back(std::move(*result));
  }
  return results;
}

std::vector<ScoreRow> score_rows(const std::vector<ProbeResult>& results) {
  std::map<Key, std::vector<const ProbeResult*>> groups;
  for (const auto& result : results) groups[key_of(result)].push_back(&result);
  std::vector<ScoreRow> rows;
  for (const auto& [key, group] : groups) {
    for (const auto* result : group) {
      if (result->task_fingerprint == group.front()->task_fingerprint) continue;
      throw UserError(
          fmt::format("results of the task '{}' come from different task files: report them apart", result->task));
    }
    rows.push_back(row_of(group));
  }
  for (auto& row : rows) {
    for (const auto& other : rows) {
      if (other.baseline && other.representation == "composition" && other.task == row.task && other.head == row.head &&
          !row.baseline) {
        row.over_composition = row.mean - other.mean;
      }
    }
  }
  return rows;
}

}  // namespace lsd::tasks
