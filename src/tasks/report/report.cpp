// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/report.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "lsd/core/json_text.h"
#include "run_metrics_internal.h"
#include "score_table_internal.h"

namespace lsd::tasks {
namespace {

// Within the first bytes of every file of a report, so that another program's file is known.
constexpr const char* kMarker = "lsd-report";
constexpr std::size_t kMarkedBytes = 512;

bool has_marker(const std::filesystem::path& file) {
  std::string head(kMarkedBytes, '\0');
  std::ifstream stream(file, std::ios::binary);
  stream.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<std::size_t>(stream.gcount()));
  return head.find(kMarker) != std::string::npos;
}

// Reports of programs that marked their JSON only are known by it.
void require_own(const std::filesystem::path& file) {
  if (!std::filesystem::exists(file) || has_marker(file) || has_marker(file.parent_path() / "report.json")) return;
  throw UserError(fmt::format("{} is there and is no file of lsd_report: give another --directory, or move it away",
                              file.string()));
}

// Behind the opening tag: some programs look for that at the very beginning.
std::string marked(std::string svg) {
  return svg.insert(svg.find('\n') + 1, fmt::format("<!-- {} -->\n", kMarker));
}

void write_report(const ReportConfig& config, const Log& log) {
  const auto results = collect_results(config.results);
  if (results.empty() && config.runs.empty()) {
    throw UserError("no probe result was found under the folders of `results`: run lsd_probe first");
  }
  const auto rows = score_rows(results, {.pool_models = config.pool_models, .resamples = config.resamples});
  std::vector<RunMetrics> runs;
  for (const auto& folder : config.runs) runs.push_back(read_run_metrics(folder));

  auto figures = time_figures(rows);
  for (auto& figure : loss_figures(runs)) figures.push_back(std::move(figure));
  std::string text = fmt::format("<!-- {} -->\n# Report\n\n", kMarker) + markdown_of(runs) + markdown_of(rows);
  for (const auto& [name, svg] : figures) text += fmt::format("\n![{0}]({0})\n", name);

  const std::filesystem::path folder = config.directory;
  std::filesystem::create_directories(folder);
  require_own(folder / "report.md");
  require_own(folder / "report.json");
  for (const auto& [name, svg] : figures) require_own(folder / name);
  for (const auto& [name, svg] : figures) write_file_atomically(folder / name, marked(svg));
  write_file_atomically(folder / "report.md", text);
  const nlohmann::ordered_json json = {{"format", kMarker},
                                       {"version", 2},
                                       {"scores", nlohmann::ordered_json::parse(json_of(rows))},
                                       {"runs", nlohmann::ordered_json::parse(json_of(runs))}};
  write_file_atomically(folder / "report.json", json_text(json, 1) + "\n");
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
