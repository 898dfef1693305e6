// SPDX-License-Identifier: Apache-2.0
#pragma once
// Probe results gathered over seeds, with the baselines they are compared with.

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "../probe/probe_result_internal.h"

namespace lsd::tasks {

// All results of one (task, model, representation, t, input, head).
struct ScoreRow {
  std::string task, model, representation, input, head, metric;
  double time = 0.0;
  std::int64_t draws = 1, test_rows = 0, seeds = 0;
  double mean = 0.0, deviation = 0.0;  // of the test score over seeds; deviation with n - 1, 0 for one seed
  double valid_mean = 0.0;
  Interval interval;                                  // means over seeds of the bootstrap bounds
  std::map<std::string, std::optional<double>> test;  // means over seeds
  bool baseline = false;
  std::optional<double> over_composition;  // mean minus that of composition under the same head; none: not probed

  // A representation that does not beat composition has learnt nothing that counts here.
  bool beats_composition() const { return over_composition && *over_composition > 0.0; }
};

// Every result file under `folders`, each result once (equal fingerprints are the same result).
std::vector<ProbeResult> collect_results(const std::vector<std::string>& folders);
// By task, baselines first, then model, representation, t and head.
std::vector<ScoreRow> score_rows(const std::vector<ProbeResult>& results);

std::string markdown_of(const std::vector<ScoreRow>& rows);
std::string json_of(const std::vector<ScoreRow>& rows);
// (file name, text) of one figure per task and head that has a sweep over t.
std::vector<std::pair<std::string, std::string>> time_figures(const std::vector<ScoreRow>& rows);

}  // namespace lsd::tasks
