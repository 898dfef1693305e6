// SPDX-License-Identifier: Apache-2.0
#include "score_table_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <compare>
#include <set>

#include "lsd/core/error.h"
#include "result_labels_internal.h"

namespace lsd::tasks {
namespace {

// What decides a row. The order of its parts is that of the table.
struct Key {
  std::string task;
  bool is_model;
  std::string model_label, representation;
  double time;
  std::string input;
  std::int64_t draws, noise_seed;
  std::string head_label, weights;

  friend auto operator<=>(const Key&, const Key&) = default;
};

std::string packing_of(const std::string& weights) {
  return weights.substr(std::min(weights.find(' '), weights.size()));
}

ScoreRow row_of(const Members& results) {
  const auto& first = *results.front();
  ScoreRow row{.task = first.task,
               .model = first.model,
               .representation = first.representation,
               .input = first.input,
               .head = first.head,
               .metric = first.metric,
               .head_options = options_of_head(first),
               .time = first.time,
               .draws = first.draws,
               .noise_seed = first.noise_seed,
               .test_rows = first.test_rows,
               .seeds = static_cast<std::int64_t>(results.size()),
               .baseline = is_baseline(first)};
  std::set<std::string> weights;
  const auto n = static_cast<double>(results.size());
  for (const auto* result : results) {
    weights.insert(result->weights);
    row.mean += result->test_score / n;
    row.valid_mean += result->valid_score / n;
    row.interval.low += result->interval.low / n;
    row.interval.high += result->interval.high / n;
    for (const auto& [name, value] : result->test) {
      auto& sum = row.test.try_emplace(name, 0.0).first->second;
      sum = sum && value ? std::optional(*sum + *value / n) : std::nullopt;
    }
  }
  row.models = static_cast<std::int64_t>(weights.size());
  for (const auto* result : results) row.deviation += (result->test_score - row.mean) * (result->test_score - row.mean);
  row.deviation = results.size() > 1 ? std::sqrt(row.deviation / (n - 1.0)) : 0.0;
  return row;
}

void require_one_table_for_each_task(const std::vector<ProbeResult>& results) {
  std::map<std::string, const ProbeResult*> first_of;
  for (const auto& result : results) {
    const auto& first = *first_of.try_emplace(result.task, &result).first->second;
    if (result.task_fingerprint == first.task_fingerprint) continue;
    throw UserError(fmt::format(
        "results of the task '{}' come from different task files, as {} and {} say: report them apart, or probe one of "
        "them again with another --task.name",
        result.task, first.file.string(), result.file.string()));
  }
}

// The same seed twice is one head, whose interval was drawn with other resamples.
void add_member(Members& members, const ProbeResult& result) {
  const bool known = std::ranges::any_of(
      members, [&](const auto* other) { return other->seed == result.seed && other->weights == result.weights; });
  if (!known) members.push_back(&result);
}

struct Rows {
  std::vector<ScoreRow> rows;
  std::vector<Members> members;
};

Rows gather(const std::vector<ProbeResult>& results, bool pool_models) {
  const auto models = label_models(results), heads = label_heads(results);
  std::map<Key, Members> groups;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const auto& result = results[i];
    add_member(groups[{result.task, !is_baseline(result), pool_models ? result.model : models[i], result.representation,
                       result.time, result.input, result.draws, result.noise_seed, heads[i],
                       pool_models ? packing_of(result.weights) : result.weights}],
               result);
  }
  Rows rows;
  for (const auto& [key, members] : groups) {
    rows.rows.push_back(row_of(members));
    rows.rows.back().model_label = key.model_label;
    rows.rows.back().head_label = key.head_label;
    rows.members.push_back(members);
  }
  return rows;
}

// An encoder without a label of its own is that of all models of its name.
bool is_encoder_of(const ScoreRow& encoder, const ScoreRow& row) {
  return !encoder.baseline && encoder.representation == "encoder" && encoder.model == row.model &&
         (encoder.model_label == row.model_label || encoder.model_label == encoder.model);
}

// Both rows' heads are trained alike.
bool comparable(const ScoreRow& a, const ScoreRow& b) {
  return a.task == b.task && a.head_label == b.head_label && a.metric == b.metric;
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

std::vector<ScoreRow> score_rows(const std::vector<ProbeResult>& results, const TableOptions& options) {
  require_one_table_for_each_task(results);
  auto [rows, members] = gather(results, options.pool_models);
  Resampling resampling(options.resamples);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].baseline) continue;
    for (std::size_t j = 0; j < rows.size(); ++j) {
      if (!comparable(rows[i], rows[j])) continue;
      if (rows[j].baseline && rows[j].representation == "composition")
        rows[i].over_composition = resampling.difference(members[i], members[j]);
      if (rows[i].timed() && is_encoder_of(rows[j], rows[i]))
        rows[i].over_encoder = resampling.difference(members[i], members[j]);
    }
  }
  return rows;
}

}  // namespace lsd::tasks
