// SPDX-License-Identifier: Apache-2.0
#pragma once
// Gathers probe results and the metrics of training runs into report.md (tables), report.json and SVG figures: scores
// over t per task, losses over steps. Baselines stand beside every score, with the size of the test set; features that
// do not beat amino-acid composition under the same head are marked.

#include <string>
#include <vector>

#include "lsd/core/config_field.h"
#include "lsd/tasks/runtime.h"

namespace lsd::tasks {

struct ReportConfig {
  std::vector<std::string> results = {};
  std::vector<std::string> runs = {};
  std::string directory;

  static void visit(auto& self, auto&& field) {
    field("results", self.results, {.help = "folders of probe results, searched with their subfolders"});
    field("runs", self.runs, {.help = "run directories of training programs"});
    field("directory", self.directory, {.help = "folder for report.md, report.json and figures", .required = true});
  }
  void validate() const;  // throws UserError
};

Outcome report(const ReportConfig& config, Runtime& runtime);

}  // namespace lsd::tasks
