// SPDX-License-Identifier: Apache-2.0
#pragma once
// Gathers probe results and the metrics of training runs into report.md (tables), report.json and SVG figures: scores
// over t per task, losses over steps (docs/formats/report.md). Baselines stand beside every score, with the size of the
// test set; features that do not beat amino-acid composition under the same head are marked. Files of the folder that
// no report wrote are never replaced.

#include <cstdint>
#include <string>
#include <vector>

#include "lsd/core/config_field.h"
#include "lsd/tasks/runtime.h"

namespace lsd::tasks {

struct ReportConfig {
  std::vector<std::string> results = {};
  std::vector<std::string> runs = {};
  std::string directory;
  bool pool_models = false;
  std::int64_t resamples = 1000;

  static void visit(auto& self, auto&& field) {
    field("results", self.results, {.help = "folders of probe results, searched with their subfolders"});
    field("runs", self.runs, {.help = "run directories of training programs"});
    field("directory", self.directory, {.help = "folder for report.md, report.json and figures", .required = true});
    field("pool_models", self.pool_models,
          {.help = "one row for all models of one name, such as retrainings with other seeds; otherwise each set of "
                   "weights has its own"});
    field("resamples", self.resamples,
          {.help = "bootstrap resamples of a difference between two rows", .min = 100, .max = 1e6});
  }
  void validate() const;  // throws UserError
};

Outcome report(const ReportConfig& config, Runtime& runtime);

}  // namespace lsd::tasks
