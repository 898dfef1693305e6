// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "score_table_internal.h"
#include "svg_plot_internal.h"

#include "lsd/core/json_text.h"

namespace lsd::tasks {
namespace {

std::string number_or_dash(const ScoreRow& row, const std::string& name) {
  const auto found = row.test.find(name);
  return found != row.test.end() && found->second ? fmt::format("{:.3f}", *found->second) : "-";
}

std::string features_of(const ScoreRow& row) {
  if (row.baseline) return row.representation;
  auto text = fmt::format("{} {}", row.model_label, row.representation);
  if (row.input == "noised") {
    text += fmt::format(" (noised, draws {}, noise seed {})", row.draws, row.noise_seed);
  } else if (row.input != "clean") {
    text += fmt::format(" ({})", row.input);
  }
  return text;
}

std::string verdict_of(const std::optional<Difference>& difference) {
  if (!difference) return "";
  const auto* word = difference->mean <= 0.0 ? "**no**" : difference->certain() ? "yes" : "within noise";
  return fmt::format("{} ({:+.3f}, {:+.3f} to {:+.3f}{})", word, difference->mean, difference->interval.low,
                     difference->interval.high, difference->paired ? "" : ", unpaired");
}

std::string composition_cell(const ScoreRow& row) {
  return row.baseline || row.over_composition ? verdict_of(row.over_composition) : "not compared";
}

std::string encoder_cell(const ScoreRow& row) {
  return !row.timed() || row.over_encoder ? verdict_of(row.over_encoder) : "not compared";
}

std::string seeds_cell(const ScoreRow& row) {
  return row.models > 1 ? fmt::format("{} ({} models)", row.seeds, row.models) : std::to_string(row.seeds);
}

std::string score_cell(const ScoreRow& row) {
  return row.seeds > 1 ? fmt::format("{:.3f} ± {:.3f}", row.mean, row.deviation) : fmt::format("{:.3f}", row.mean);
}

void append_task(const std::vector<ScoreRow>& rows, std::size_t begin, std::size_t end, std::string& out) {
  const auto& first = rows[begin];
  const bool classes = first.metric == "accuracy";
  out += fmt::format("## {}: {} on {} test rows\n\n", first.task, first.metric, first.test_rows);
  out += fmt::format(
      "| features | t | head | seeds | {} | 95 % interval | {} | validation | above composition | above its encoder "
      "|\n",
      first.metric, classes ? "AUC | MCC | macro F1" : "mean absolute error");
  out +=
      classes ? "|---|---|---|---|---|---|---|---|---|---|---|---|\n" : "|---|---|---|---|---|---|---|---|---|---|\n";
  for (std::size_t i = begin; i < end; ++i) {
    const auto& row = rows[i];
    const auto scores = classes ? fmt::format("{} | {} | {}", number_or_dash(row, "auc"), number_or_dash(row, "mcc"),
                                              number_or_dash(row, "macro_f1"))
                                : number_or_dash(row, "mean_absolute_error");
    out += fmt::format("| {} | {} | {} | {} | {} | {:.3f} to {:.3f} | {} | {:.3f} | {} | {} |\n", features_of(row),
                       row.timed() ? fmt::format("{:g}", row.time) : "", row.head_label, seeds_cell(row),
                       score_cell(row), row.interval.low, row.interval.high, scores, row.valid_mean,
                       composition_cell(row), encoder_cell(row));
  }
  out += "\n";
}

std::string method_of(const std::vector<ScoreRow>& rows) {
  std::string out =
      "Scores are means over seeds ± their standard deviation; the interval is a bootstrap of the test rows, its "
      "bounds "
      "averaged over seeds. \"above composition\" compares with amino-acid composition and length under the same head, "
      "\"above its encoder\" with the encoder of the same model: the difference and its 95 % interval by a paired "
      "bootstrap, which draws the same test rows for both sides, and head seeds of each (training the model again "
      "would "
      "add to it). yes: the whole interval lies "
      "above 0; within noise: only the mean does. Features that are not above composition have learnt nothing that "
      "this task sees. Each interval stands for itself: of many that hold no difference, one in forty says yes.\n";
  const bool unpaired =
      std::ranges::any_of(rows, [](const auto& row) { return row.over_composition && !row.over_composition->paired; });
  if (unpaired) {
    out +=
        "\nunpaired: the results hold no predictions (an older program wrote them), so the far ends of both sides' "
        "intervals are subtracted, which is wider than the truth. Probe again for a paired comparison.\n";
  }
  return out;
}

void put_difference(const char* name, const std::optional<Difference>& difference, nlohmann::ordered_json& json) {
  json[name] = nullptr;
  if (!difference) return;
  json[name] = {{"mean", difference->mean},
                {"interval", {difference->interval.low, difference->interval.high}},
                {"paired", difference->paired}};
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
  if (!rows.empty()) out += method_of(rows);
  return out;
}

std::string json_of(const std::vector<ScoreRow>& rows) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& row : rows) {
    nlohmann::ordered_json test = nlohmann::ordered_json::object();
    for (const auto& [name, value] : row.test) test[name] = value ? nlohmann::ordered_json(*value) : nullptr;
    nlohmann::ordered_json json = {{"task", row.task},
                                   {"model", row.model},
                                   {"model_label", row.model_label},
                                   {"models", row.models},
                                   {"representation", row.representation},
                                   {"time", row.time},
                                   {"input", row.input},
                                   {"draws", row.draws},
                                   {"noise_seed", row.noise_seed},
                                   {"head", row.head},
                                   {"head_options", row.head_options},
                                   {"metric", row.metric},
                                   {"test_rows", row.test_rows},
                                   {"seeds", row.seeds},
                                   {"mean", row.mean},
                                   {"deviation", row.deviation},
                                   {"interval", {row.interval.low, row.interval.high}},
                                   {"validation", row.valid_mean},
                                   {"test", test},
                                   {"baseline", row.baseline}};
    put_difference("over_composition", row.over_composition, json);
    put_difference("over_encoder", row.over_encoder, json);
    list.push_back(std::move(json));
  }
  return json_text(list);
}

std::vector<std::pair<std::string, std::string>> time_figures(const std::vector<ScoreRow>& rows) {
  std::map<std::pair<std::string, std::string>, Plot> plots;  // by task and head
  for (const auto& row : rows) {
    if (row.baseline && row.head == "none") continue;
    auto& plot = plots[{row.task, row.head_label}];
    plot.title = fmt::format("{} ({} head, {} test rows)", row.task, row.head_label, row.test_rows);
    plot.x_label = std::string("t");
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
    if (swept)
      figures.emplace_back(fmt::format("scores_over_t.{}.{}.svg", as_file_part(key.first), as_file_part(key.second)),
                           svg_of(plot));
  }
  return figures;
}

}  // namespace lsd::tasks
