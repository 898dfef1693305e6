// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/report.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "report/run_metrics_internal.h"
#include "report/score_table_internal.h"
#include "report/svg_plot_internal.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "tiny_models.h"

namespace lsd::tasks {
namespace {

using lsd::testing::expect_error;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

ProbeResult result_of(const std::string& model, const std::string& representation, double time, std::int64_t seed,
                      double score) {
  ProbeResult result{.task = "deeploc10",
                     .kind = "classes",
                     .task_fingerprint = "f",
                     .test_rows = 300,
                     .model = model,
                     .representation = representation,
                     .time = time,
                     .head = "mlp",
                     .seed = seed};
  result.metric = "accuracy";
  result.test_score = score;
  result.interval = {score - 0.1, score + 0.1};
  result.test = {{"accuracy", score}, {"auc", 0.75}, {"mcc", std::nullopt}};
  result.fingerprint = result.compute_fingerprint();
  return result;
}

std::vector<ProbeResult> sample() {
  return {result_of("nm", "diffusion", 0.3, 1, 0.50),         result_of("nm", "diffusion", 0.3, 2, 0.56),
          result_of("nm", "diffusion", 0.0, 1, 0.38),         result_of("nm", "encoder", 0.0, 1, 0.40),
          result_of("baseline", "composition", 0.0, 1, 0.44), result_of("baseline", "composition", 0.0, 2, 0.46)};
}

// Scores 0.50 and 0.56: mean 0.53, deviation 0.06 / sqrt 2; composition 0.45.
TEST(Report, GathersSeedsAndComparesWithComposition) {
  const auto rows = score_rows(sample());
  ASSERT_EQ(rows.size(), 4U);
  EXPECT_TRUE(rows[0].baseline);
  EXPECT_NEAR(rows[0].mean, 0.45, 1e-12);
  const auto& best = rows[2];
  EXPECT_EQ(best.time, 0.3);
  EXPECT_EQ(best.seeds, 2);
  EXPECT_NEAR(best.mean, 0.53, 1e-12);
  EXPECT_NEAR(best.deviation, 0.06 / std::sqrt(2.0), 1e-12);
  EXPECT_NEAR(best.over_composition->mean, 0.08, 1e-12);
  EXPECT_NEAR(best.interval.low, 0.43, 1e-12);
  EXPECT_NEAR(best.over_encoder->mean, 0.13, 1e-12);
  EXPECT_NEAR(rows[3].over_composition->mean, -0.05, 1e-12);
  EXPECT_FALSE(rows[3].over_encoder.has_value());
}

TEST(Report, TablesNameTheTestSetAndMarkWhatLearntNothing) {
  auto results = sample();
  results.push_back(result_of("mlm", "encoder", 0.0, 1, 0.70));
  const auto text = markdown_of(score_rows(results));
  EXPECT_THAT(text, HasSubstr("accuracy on 300 test rows"));
  EXPECT_THAT(text, HasSubstr("| nm diffusion | 0.3 | mlp | 2 | 0.530 ± 0.042 | 0.430 to 0.630 | 0.750 | - | - |"));
  // Without predictions the far ends count: composition's are 0.35 and 0.55.
  EXPECT_THAT(text, HasSubstr("| yes (+0.250, +0.050 to +0.450, unpaired) |  |"));
  EXPECT_THAT(text, HasSubstr("| within noise (+0.080, -0.120 to +0.280, unpaired) | within noise (+0.130, -0.070 to"));
  EXPECT_THAT(text, HasSubstr("| **no** (-0.050, -0.250 to +0.150, unpaired) |"));
  EXPECT_THAT(text, HasSubstr("Probe again for a paired comparison"));
  EXPECT_LT(text.find("composition |"), text.find("nm diffusion"));
}

// Right on the rows first .. last - 1 of 100.
ProbeResult right_on(ProbeResult result, int first, int last) {
  result.test_rows = 100;
  for (int row = 0; row < 100; ++row) {
    result.labels.push_back(row % 3);
    result.predictions.push_back(row >= first && row < last ? row % 3 : 7);
  }
  result.test_score = 0.01 * (last - first);
  result.interval = {result.test_score - 0.096, result.test_score + 0.096};
  return result;
}

Difference over_composition(const std::vector<ProbeResult>& results) {
  return score_rows(results).back().over_composition.value();
}

// 60 against 50 rows of 100. Where the one is right on all that the other one is, only 10 rows decide: standard error
// sqrt(0.1 * 0.9 / 100) = 0.03. Where they share 10, 90 rows do: sqrt(0.9 - 0.01) / 10 = 0.094.
TEST(Report, DifferencesAreThoseOfTheSameRows) {
  const auto composition = right_on(result_of("baseline", "composition", 0.0, 1, 0), 0, 50);
  const auto nested = over_composition({composition, right_on(result_of("nm", "encoder", 0.0, 1, 0), 0, 60)});
  EXPECT_TRUE(nested.paired);
  EXPECT_NEAR(nested.mean, 0.10, 1e-12);
  EXPECT_NEAR(nested.interval.low, 0.10 - 1.96 * 0.03, 0.012);
  EXPECT_NEAR(nested.interval.high, 0.10 + 1.96 * 0.03, 0.012);
  EXPECT_TRUE(nested.certain());
  // Its own interval, 0.504 to 0.696, lies above composition's 0.5: that is not enough.
  const auto apart = over_composition({composition, right_on(result_of("nm", "encoder", 0.0, 1, 0), 40, 100)});
  EXPECT_NEAR(apart.interval.low, 0.10 - 1.96 * 0.094, 0.03);
  EXPECT_FALSE(apart.certain());
}

// Seeds at 0.9 and 0.3: a resample in four holds the worse one alone.
TEST(Report, DifferencesHoldTheNoiseOfSeeds) {
  const auto difference = over_composition({right_on(result_of("baseline", "composition", 0.0, 1, 0), 0, 50),
                                            right_on(result_of("nm", "encoder", 0.0, 1, 0), 0, 90),
                                            right_on(result_of("nm", "encoder", 0.0, 2, 0), 0, 30)});
  EXPECT_NEAR(difference.mean, 0.10, 1e-12);
  EXPECT_LT(difference.interval.low, -0.15);
  EXPECT_GT(difference.interval.high, 0.35);
}

TEST(Report, RankCorrelationsOfResamplesAreSpearmans) {
  ProbeResult result{.metric = "spearman"};
  result.predictions = {0.3, -1.0, 0.3, 8.0, 2.0, 0.0, 2.0};
  result.labels = {1.0, 1.0, 2.0, 5.0, -3.0, 0.5, 2.0};
  RowScore score(result);
  std::vector<std::int64_t> rows(7);
  for (std::int64_t resample = 0; resample < 50; ++resample) {
    draw_rows(resample, 1, rows);
    std::vector<double> predictions, labels;
    for (const auto row : rows) {
      predictions.push_back(result.predictions[static_cast<std::size_t>(row)]);
      labels.push_back(result.labels[static_cast<std::size_t>(row)]);
    }
    EXPECT_NEAR(score(rows), spearman(predictions, labels), 1e-12);
  }
}

ProbeResult with_weights(ProbeResult result, const std::string& weights, const std::string& file) {
  result.weights = weights;
  result.file = file;
  result.fingerprint = result.compute_fingerprint();
  return result;
}

std::vector<std::string> labels_of(const std::vector<ScoreRow>& rows) {
  std::vector<std::string> labels;
  for (const auto& row : rows) labels.push_back(fmt::format("{} {}: {}", row.model_label, row.head_label, row.seeds));
  return labels;
}

TEST(Report, ModelsOfOneNameAreNoSeedsOfOneAnother) {
  const auto one = with_weights(result_of("nm", "encoder", 0.0, 1, 0.4), "aaaaaaaa1 f32", "runs/probes/x.json"),
             two = with_weights(result_of("nm", "encoder", 0.0, 2, 0.6), "bbbbbbbb1 f32", "other/probes/y.json"),
             sweep = with_weights(result_of("nm", "diffusion", 0.5, 2, 0.6), "cccccccc1 f32", "other/probes/z.json");
  EXPECT_THAT(labels_of(score_rows({one, two, sweep})),
              ElementsAre("nm [other] mlp: 1", "nm [other] mlp: 1", "nm [runs] mlp: 1"));
  EXPECT_NEAR(score_rows({one, two, sweep})[0].over_encoder->mean, 0.0, 1e-12);  // its own encoder, not the mean of two
  // Where folders do not tell them apart, their weights do.
  const auto beside = with_weights(result_of("nm", "encoder", 0.0, 2, 0.6), "bbbbbbbb1 f32", "runs/probes/y.json");
  EXPECT_THAT(labels_of(score_rows({one, beside})), ElementsAre("nm [aaaaaaaa] mlp: 1", "nm [bbbbbbbb] mlp: 1"));

  const auto pooled = score_rows({one, two}, {.pool_models = true});
  EXPECT_THAT(labels_of(pooled), ElementsAre("nm mlp: 2"));
  EXPECT_EQ(pooled[0].models, 2);
  EXPECT_THAT(markdown_of(pooled), HasSubstr("| 2 (2 models) | 0.500 ± 0.141 |"));
  const auto packed = with_weights(result_of("nm", "encoder", 0.0, 3, 0.6), "dddddddd1 bf16", "third/z.json");
  EXPECT_EQ(score_rows({one, packed}, {.pool_models = true}).size(), 2U);
}

TEST(Report, TwoDiffusionModelsMayShareAnEncoder) {
  const auto encoder = with_weights(result_of("nm", "encoder", 0.0, 1, 0.4), "aaaaaaaa1 f32", "runs_a/probes/x.json"),
             one = with_weights(result_of("nm", "diffusion", 0.5, 1, 0.5), "bbbbbbbb1 f32", "runs_a/probes/y.json"),
             two = with_weights(result_of("nm", "diffusion", 0.5, 1, 0.7), "cccccccc1 f32", "runs_b/probes/y.json");
  const auto rows = score_rows({encoder, one, two});
  EXPECT_THAT(labels_of(rows), ElementsAre("nm mlp: 1", "nm [runs_a] mlp: 1", "nm [runs_b] mlp: 1"));
  EXPECT_NEAR(rows[1].over_encoder->mean, 0.1, 1e-12);
  EXPECT_NEAR(rows[2].over_encoder->mean, 0.3, 1e-12);
}

TEST(Report, HeadsOfOtherOptionsAreNoSeedsOfOneAnother) {
  auto few = result_of("nm", "encoder", 0.0, 1, 0.4), many = result_of("nm", "encoder", 0.0, 2, 0.6),
       composition = result_of("baseline", "composition", 0.0, 1, 0.5);
  few.head_options = {{"epochs", 3}, {"batch", 64}, {"resamples", 50}};
  many.head_options = {{"epochs", 40}, {"batch", 64}, {"resamples", 1000}};
  composition.head_options = many.head_options;
  const auto rows = score_rows({few, many, composition});
  EXPECT_THAT(labels_of(rows),
              ElementsAre("baseline mlp (epochs 40): 1", "nm mlp (epochs 3): 1", "nm mlp (epochs 40): 1"));
  EXPECT_FALSE(rows[1].over_composition.has_value());
  EXPECT_NEAR(rows[2].over_composition->mean, 0.1, 1e-12);
  few.head_options = {{"epochs", 40}, {"batch", 64}, {"resamples", 50}};
  EXPECT_EQ(score_rows({few, many, composition}).size(), 2U);  // resamples decide the interval only
  few.seed = many.seed;
  EXPECT_EQ(score_rows({few, many, composition})[1].seeds, 1);  // the same head
}

TEST(Report, FilesThatNoReportWroteAreKept) {
  const testing::TemporaryFolder folder;
  std::filesystem::create_directories(folder / "probes");
  for (const auto& result : sample()) write_result(folder / "probes", result);
  const ReportConfig config{.results = {(folder / "probes").string()}, .directory = (folder / "out").string()};
  const auto run = [&] { testing::run_on_ranks(1, [&](Runtime& runtime) { return report(config, runtime); }); };
  std::filesystem::create_directories(folder / "out");
  for (const auto* name : {"report.md", "report.json", "scores_over_t.deeploc10.mlp.svg"}) {
    std::ofstream(folder / "out" / name) << "{\"thesis\": \"mine\"}";
    expect_error<UserError>([&] { run(); }, {name, "no file of lsd_report", "--directory"});
    EXPECT_EQ(read_text_file(folder / "out" / name), "{\"thesis\": \"mine\"}");
    std::filesystem::remove(folder / "out" / name);
  }
  run();
  std::filesystem::remove(folder / "out/report.json");  // as after a report that was cut off
  run();
  EXPECT_TRUE(std::filesystem::exists(folder / "out/report.json"));
  std::ofstream(folder / "out/report.md") << "# Report\n";  // of a program that marked its JSON only
  run();
}

TEST(Report, ReadsFoldersAndWritesTablesAndFigures) {
  const testing::TemporaryFolder folder;
  std::filesystem::create_directories(folder / "probes/deep");
  for (const auto& result : sample()) write_result(folder / "probes/deep", result);
  write_result(folder / "probes", sample()[0]);  // the same result twice counts once
  std::ofstream(folder / "probes/environment.json") << "{}";
  std::filesystem::create_directories(folder / "nm");
  std::ofstream(folder / "nm/metrics.jsonl")
      << "{\"kind\":\"train\",\"step\":1,\"loss\":3.0}\n{\"kind\":\"train\",\"step\":2,\"loss\":2.5}\n"
         "{\"kind\":\"validation\",\"step\":2,\"loss\":2.75,\"accuracy\":0.5}\n{\"kind\":\"tr";
  const ReportConfig config{.results = {(folder / "probes").string()},
                            .runs = {(folder / "nm/").string()},
                            .directory = (folder / "report").string()};
  testing::run_on_ranks(2, [&](Runtime& runtime) { return report(config, runtime); });

  const auto text = read_text_file(folder / "report/report.md");
  EXPECT_THAT(text, HasSubstr("| nm | 2 | 2.5 | 2.75 |"));
  EXPECT_THAT(text, HasSubstr("0.530 ± 0.042"));
  const auto json = nlohmann::json::parse(read_text_file(folder / "report/report.json"));
  EXPECT_EQ(json["scores"].size(), 4U);
  EXPECT_EQ(json["runs"][0]["validation"]["accuracy"], 0.5);
  const auto figure = read_text_file(folder / "report/scores_over_t.deeploc10.mlp.svg");
  EXPECT_THAT(figure, HasSubstr("<polyline"));
  EXPECT_THAT(figure, HasSubstr("nm diffusion"));
  EXPECT_THAT(read_text_file(folder / "report/losses.svg"), HasSubstr("<polyline"));
}

TEST(Report, RefusesWhatCannotBeCompared) {
  auto results = sample();
  results[1].task_fingerprint = "another file";
  results[0].file = "a/x.json";
  results[1].file = "b/y.json";
  expect_error<UserError>([&] { score_rows(results); },
                          {"different task files", "a/x.json", "b/y.json", "--task.name"});
  results = sample();
  results[2].task_fingerprint = "another file";  // of another row
  expect_error<UserError>([&] { score_rows(results); }, {"different task files"});
  expect_error<UserError>([] { collect_results({"/nonexistent"}); }, {"/nonexistent", "no folder"});
  const testing::TemporaryFolder folder;
  expect_error<UserError>([&] { read_run_metrics(folder.path().string()); }, {"metrics.jsonl", "no run directory"});
  std::ofstream(folder / "metrics.jsonl") << "{\"kind\":\"train\"}\n{\"kind\":\"train\",\"step\":1}\n";
  expect_error<DataError>([&] { read_run_metrics(folder.path().string()); }, {"metrics.jsonl:1", "damaged"});
  std::ofstream(folder / "metrics.jsonl") << "{\"kind\":\"dump\",\"tokens\":7}\n";
  expect_error<UserError>([&] { read_run_metrics(folder.path().string()); }, {"metrics.jsonl:1", "no run directory"});
  ReportConfig nothing{.directory = "x"};
  EXPECT_THROW(nothing.validate(), UserError);
}

TEST(SvgPlot, TicksAreRound) {
  EXPECT_THAT(axis_ticks(0.0, 1.0), ElementsAre(0.0, 0.2, 0.4, ::testing::DoubleEq(3 * 0.2), 0.8, 1.0));
  EXPECT_THAT(axis_ticks(0.0, 100.0), ElementsAre(0.0, 20.0, 40.0, 60.0, 80.0, 100.0));
  EXPECT_THAT(axis_ticks(-1.0, 1.5), ElementsAre(-1.0, -0.5, 0.0, 0.5, 1.0, 1.5));
}

TEST(SvgPlot, PointsThatAreNotFiniteAreLeftOut) {
  const auto svg = svg_of({.title = "a < b & c", .series = {{.name = "x", .points = {{0, 1}, {1, NAN}, {2, 3}}}}});
  EXPECT_THAT(svg, HasSubstr("a &lt; b &amp; c"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg_of({.series = {{.name = "one", .points = {{1, 1}}}}}), Not(HasSubstr("nan")));
  EXPECT_THAT(svg_of({}), Not(HasSubstr("inf")));
}

}  // namespace
}  // namespace lsd::tasks
