// SPDX-License-Identifier: Apache-2.0
#include "run_metrics_internal.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "lsd/core/json_text.h"
#include "svg_plot_internal.h"

namespace lsd::tasks {
namespace {

using Json = nlohmann::ordered_json;

void add_line(const Json& line, RunMetrics& run) {
  const bool validation = line.at("kind") == "validation";
  const double step = line.at("step").get<double>();
  auto& last = validation ? run.last_validation : run.last_train;
  auto& curves = validation ? run.validation : run.train;
  last.clear();
  for (const auto& [name, value] : line.items()) {
    if (!value.is_number()) continue;
    last[name] = value.get<double>();
    if (name != "step") curves[name].emplace_back(step, value.get<double>());
  }
}

std::string cell(const std::map<std::string, double>& values, const std::string& name) {
  const auto found = values.find(name);
  return found == values.end() ? "-" : fmt::format("{:.4g}", found->second);
}

}  // namespace

RunMetrics read_run_metrics(const std::string& folder) {
  const auto file = std::filesystem::path(folder) / "metrics.jsonl";
  if (!std::filesystem::exists(file)) {
    throw UserError(fmt::format("{} is missing: {} is no run directory of a training program", file.string(), folder));
  }
  auto path = std::filesystem::path(folder).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  RunMetrics run{.name = path.filename().string()};
  std::istringstream lines(read_text_file(file));
  std::int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.empty()) continue;
    try {
      const auto json = Json::parse(line);
      if (json.at("kind") != "train" && json.at("kind") != "validation")
        throw UserError(
            fmt::format("{}:{}: {} is no run directory of a training program", file.string(), number, folder));
      add_line(json, run);
    } catch (const Json::exception& error) {
      if (lines.eof()) break;  // the last line of a run that is being written
      throw DataError(fmt::format("{}:{}: damaged ({})", file.string(), number, error.what()));
    }
  }
  return run;
}

std::string markdown_of(const std::vector<RunMetrics>& runs) {
  if (runs.empty()) return {};
  std::string out =
      "## Training runs\n\n| run | steps | training loss | validation loss | reconstruction loss | normalisation "
      "loss | accuracy | accuracy at t = 0 |\n|---|---|---|---|---|---|---|---|\n";
  for (const auto& run : runs) {
    const auto& valid = run.last_validation;
    out += fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} |\n", run.name, cell(run.last_train, "step"),
                       cell(run.last_train, "loss"), cell(valid, "loss"), cell(valid, "loss_recon"),
                       cell(valid, "loss_norm"), cell(valid, "accuracy"), cell(valid, "accuracy@0"));
  }
  return out +
         "\nAccuracy is that of reconstructed residues on the validation split, at the loss's own noise and without "
         "noise.\n\n";
}

std::string json_of(const std::vector<RunMetrics>& runs) {
  Json list = Json::array();
  for (const auto& run : runs)
    list.push_back({{"name", run.name}, {"train", run.last_train}, {"validation", run.last_validation}});
  return json_text(list);
}

std::vector<std::pair<std::string, std::string>> loss_figures(const std::vector<RunMetrics>& runs) {
  Plot plot{.title = "Training loss", .x_label = "step", .y_label = "loss"};
  for (const auto& run : runs) {
    const auto found = run.train.find("loss");
    if (found != run.train.end()) plot.series.push_back({.name = run.name, .points = found->second});
  }
  if (plot.series.empty()) return {};
  return {{"losses.svg", svg_of(plot)}};
}

}  // namespace lsd::tasks
