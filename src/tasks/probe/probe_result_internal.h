// SPDX-License-Identifier: Apache-2.0
#pragma once
// One result file of a probe (docs/formats/probe_results.md).

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lsd/tasks/probe_statistics.h"

namespace lsd::tasks {

inline constexpr const char* kResultFormat = "lsd-probe-result";
inline constexpr std::int64_t kResultVersion = 1;

struct ProbeResult {
  // What was probed. `model` names the features: a run's name, or "baseline".
  std::string task, kind, task_fingerprint;
  std::int64_t classes = 0, train_rows = 0, valid_rows = 0, test_rows = 0, shared_sequences = 0, odd_residues = 0;
  bool pairs = false;
  std::string model, representation;  // representation: "composition" or "majority" for baselines
  double time = 0.0;
  std::string input = "clean", weights;
  std::int64_t draws = 1, noise_seed = 0, width = 0;
  std::string head;
  std::int64_t seed = 0;
  std::map<std::string, double> head_options;
  std::string fingerprint;  // of everything above that decides the numbers below

  // What came out.
  std::string metric;  // "accuracy" or "spearman"
  double valid_score = 0.0, test_score = 0.0;
  std::int64_t best_epoch = 0, epochs = 0;
  Interval interval;                                  // of test_score
  std::map<std::string, std::optional<double>> test;  // accuracy, auc, mcc, macro_f1 | spearman, mean_absolute_error
  // Of each test row, in the table's order: what two results are compared by, row by row. Classes, or values of a
  // regression. Both are empty in results of older programs.
  std::vector<double> predictions, labels;

  std::filesystem::path file;  // that it was read from; no part of the content

  std::string compute_fingerprint() const;
  std::string file_name() const;
};

// Letters, digits, - and _ as they are, all else as _.
std::string as_file_part(std::string text);

void write_result(const std::filesystem::path& folder, const ProbeResult& result);
// nullopt when the file is not a result (another JSON file). Throws DataError when it is one of another version or
// damaged.
std::optional<ProbeResult> read_result(const std::filesystem::path& file);

}  // namespace lsd::tasks
