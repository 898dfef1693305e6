// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "score_table_internal.h"
#include "svg_plot_internal.h"

namespace lsd::tasks {
namespace {

std::string number_or_dash(const ScoreRow& row, const std::string& name) {
  const auto found = row.test.find(name);
  return found != row.test.end() && found->second ? fmt::format("{:.3f}", *found->second) : "-";
}

std::string features_of(const ScoreRow& row) {
  if (row.baseline) return row.representation;
  std::string text = row.model + " " + row.representation;
  if (row.input != "clean") text += " (" + row.input + ")";
  return text;
}

std::string verdict_of(const ScoreRow& row) {
  if (row.baseline) return "";
  if (!row.over_composition) return "not compared";
  const double composition = row.mean - *row.over_composition;
  const auto* word = !row.beats_composition() ? "**no**" : row.interval.low > composition ? "yes" : "within noise";
  return fmt::format("{} ({:+.3f})", word, *row.over_composition);
}

std::string score_cell(const ScoreRow& row) {
  return row.seeds > 1 ? fmt::format("{:.3f} ± {:.3f}", row.mean, row.deviation) : fmt::format("{:.3f}", row.mean);
}

void append_task(const std::vector<ScoreRow>& rows, std::size_t begin, std::size_t end, std::string& out) {
  const auto& first = rows[begin];
  const bool classes = first.metric == "accuracy";
  out += fmt::format("## {}: {} on {} test rows\n\n", first.task, first.metric, first.test_rows);
  out += fmt::format("| features | t | head | seeds | {} | 95 % interval | {} | validation | above composition |\n",
                     first.metric, classes ? "AUC | MCC | macro F1" : "mean absolute error");
  out += classes ? "|---|---|---|---|---|---|---|---|---|---|---|\n" : "|---|---|---|---|---|---|---|---|---|\n";
  for (std::size_t i = begin; i < end; ++i) {
    const auto& row = rows[i];
    const bool timed = !row.baseline && row.representation != "encoder";
    const auto scores = classes ? fmt::format("{} | {} | {}", number_or_dash(row, "auc"), number_or_dash(row, "mcc"),
                                              number_or_dash(row, "macro_f1"))
                                : number_or_dash(row, "mean_absolute_error");
    out += fmt::format("| {} | {} | {} | {} | {} | {:.3f} to {:.3f} | {} | {:.3f} | {} |\n", features_of(row),
                       timed ? fmt::format("{:g}", row.time) : "", row.head, row.seeds, score_cell(row),
                       row.interval.low, row.interval.high, scores, row.valid_mean, verdict_of(row));
  }
  out += "\n";
}

}  // namespace

std::string markdown_of(const std::vector<ScoreRow>& rows) {
  std::string out;
  for (std::size_t begin = 0; begin < rows.size();) {
    std::size_t end = begin;
    while (end < rows.size() && rows[end].task == rows[begin].task) ++end;
    append_task(rows, begin, end, out);
    begin = end;
  }
  if (!rows.empty()) {
    out +=
        "Scores are means over seeds ± their standard deviation; the interval is a bootstrap of the test rows, its "
        "bounds averaged over seeds. \"above composition\" compares with amino-acid composition and length under the "
        "same head: yes when the whole interval lies above its score, within noise when only the mean does. Features "
        "that are not above it have learnt nothing that this task sees.\n";
  }
  return out;
}

std::string json_of(const std::vector<ScoreRow>& rows) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& row : rows) {
    nlohmann::ordered_json test = nlohmann::ordered_json::object();
    for (const auto& [name, value] : row.test) test[name] = value ? nlohmann::ordered_json(*value) : nullptr;
    list.push_back(
        {{"task", row.task},
         {"model", row.model},
         {"representation", row.representation},
         {"time", row.time},
         {"input", row.input},
         {"draws", row.draws},
         {"head", row.head},
         {"metric", row.metric},
         {"test_rows", row.test_rows},
         {"seeds", row.seeds},
         {"mean", row.mean},
         {"deviation", row.deviation},
         {"interval", {row.interval.low, row.interval.high}},
         {"validation", row.valid_mean},
         {"test", test},
         {"baseline", row.baseline},
         {"over_composition", row.over_composition ? nlohmann::ordered_json(*row.over_composition) : nullptr}});
  }
  return list.dump();
}

std::vector<std::pair<std::string, std::string>> time_figures(const std::vector<ScoreRow>& rows) {
  std::map<std::pair<std::string, std::string>, Plot> plots;  // by task and head
  for (const auto& row : rows) {
    if (row.baseline && row.head == "none") continue;
    auto& plot = plots[{row.task, row.head}];
    plot.title = fmt::format("{} ({} head, {} test rows)", row.task, row.head, row.test_rows);
    plot.x_label = "t";
    plot.y_label = row.metric;
    const bool level = row.baseline || row.representation == "encoder";
    const auto name = features_of(row);
    const auto found =
        std::find_if(plot.series.begin(), plot.series.end(), [&](const auto& s) { return s.name == name; });
    auto& series =
        found != plot.series.end() ? *found : plot.series.emplace_back(PlotSeries{.name = name, .reference = level});
    series.points.emplace_back(row.time, row.mean);
  }
  std::vector<std::pair<std::string, std::string>> figures;
  for (const auto& [key, plot] : plots) {
    const bool swept =
        std::any_of(plot.series.begin(), plot.series.end(), [](const auto& s) { return s.points.size() > 1; });
    if (swept) figures.emplace_back(fmt::format("scores_over_t.{}.{}.svg", key.first, key.second), svg_of(plot));
  }
  return figures;
}

}  // namespace lsd::tasks
