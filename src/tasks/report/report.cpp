// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/report.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "run_metrics_internal.h"
#include "score_table_internal.h"

namespace lsd::tasks {
namespace {

void write_report(const ReportConfig& config, const Log& log) {
  const auto results = collect_results(config.results);
  if (results.empty() && config.runs.empty()) {
    throw UserError("no probe result was found under the folders of `results`: run lsd_probe first");
  }
  const auto rows = score_rows(results);
  std::vector<RunMetrics> runs;
  for (const auto& folder : config.runs) runs.push_back(read_run_metrics(folder));

  auto figures = time_figures(rows);
  for (auto& figure : loss_figures(runs)) figures.push_back(std::move(figure));
  std::string text = "# Report\n\n" + markdown_of(runs) + markdown_of(rows);
  for (const auto& [name, svg] : figures) text += fmt::format("\n![{0}]({0})\n", name);

  const std::filesystem::path folder = config.directory;
  std::filesystem::create_directories(folder);
  for (const auto& [name, svg] : figures) write_file_atomically(folder / name, svg);
  const nlohmann::ordered_json json = {{"format", "lsd-report"},
                                       {"version", 1},
                                       {"scores", nlohmann::ordered_json::parse(json_of(rows))},
                                       {"runs", nlohmann::ordered_json::parse(json_of(runs))}};
  write_file_atomically(folder / "report.json", json.dump(1) + "\n");
  write_file_atomically(folder / "report.md", text);
  log.info(fmt::format("{} results in {} rows, {} runs, {} figures: {}\n\n{}", results.size(), rows.size(), runs.size(),
                       figures.size(), (folder / "report.md").string(), text));
}

}  // namespace

void ReportConfig::validate() const {
  if (results.empty() && runs.empty())
    throw UserError("give folders of probe results (results), of runs (runs), or both");
}

Outcome report(const ReportConfig& config, Runtime& runtime) {
  if (runtime.ranks.is_root()) write_report(config, runtime.log);
  runtime.ranks.barrier();
  return Outcome::done;
}

}  // namespace lsd::tasks
