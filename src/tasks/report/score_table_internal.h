// SPDX-License-Identifier: Apache-2.0
#pragma once
// Probe results gathered over seeds, with the baselines they are compared with.

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "../probe/probe_result_internal.h"
#include "row_difference_internal.h"

namespace lsd::tasks {

// All results of one (task, model, representation, t, input, head): the same weights and options, other head seeds.
struct ScoreRow {
  std::string task, model, representation, input, head, metric;
  std::string model_label, head_label;  // name, and what tells it from others of that name ("nm [runs_b]")
  std::map<std::string, double> head_options;
  double time = 0.0;
  std::int64_t draws = 1, noise_seed = 0, test_rows = 0;
  std::int64_t seeds = 0, models = 1;  // results; distinct weights among them
  double mean = 0.0, deviation = 0.0;  // of the test score over seeds; deviation with n - 1, 0 for one seed
  double valid_mean = 0.0;
  Interval interval;                                  // means over seeds of the bootstrap bounds
  std::map<std::string, std::optional<double>> test;  // means over seeds
  bool baseline = false;
  // From composition, and from the same model's encoder, under the same head; none: not probed, or the row itself.
  std::optional<Difference> over_composition, over_encoder;

  bool timed() const { return !baseline && representation != "encoder"; }
};

// Every result file under `folders`, each result once (equal fingerprints are the same result).
std::vector<ProbeResult> collect_results(const std::vector<std::string>& folders);

struct TableOptions {
  bool pool_models = false;  // one row for all models of a name, instead of one for each
  std::int64_t resamples = 1000;
};
// By task, baselines first, then model, representation, t and head. Throws UserError when results of one task name come
// from different task files.
std::vector<ScoreRow> score_rows(const std::vector<ProbeResult>& results, const TableOptions& options = {});

std::string markdown_of(const std::vector<ScoreRow>& rows);
std::string json_of(const std::vector<ScoreRow>& rows);
// (file name, text) of one figure per task and head that has a sweep over t.
std::vector<std::pair<std::string, std::string>> time_figures(const std::vector<ScoreRow>& rows);

}  // namespace lsd::tasks
