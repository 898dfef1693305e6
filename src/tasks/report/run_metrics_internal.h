// SPDX-License-Identifier: Apache-2.0
#pragma once
// metrics.jsonl of training runs: last numbers and loss curves.

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace lsd::tasks {

struct RunMetrics {
  std::string name;  // of the run's folder
  std::map<std::string, double> last_train, last_validation;
  std::map<std::string, std::vector<std::pair<double, double>>> train, validation;  // value over step, by metric
};

// Throws UserError when there is no metrics.jsonl, DataError naming the line that is damaged.
RunMetrics read_run_metrics(const std::string& folder);
std::string markdown_of(const std::vector<RunMetrics>& runs);
std::string json_of(const std::vector<RunMetrics>& runs);
std::vector<std::pair<std::string, std::string>> loss_figures(const std::vector<RunMetrics>& runs);

}  // namespace lsd::tasks
