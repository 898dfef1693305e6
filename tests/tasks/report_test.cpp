// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/report.h"

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
  EXPECT_NEAR(*best.over_composition, 0.08, 1e-12);
  EXPECT_NEAR(best.interval.low, 0.43, 1e-12);
  EXPECT_TRUE(best.beats_composition());
  EXPECT_FALSE(rows[3].beats_composition());
}

TEST(Report, TablesNameTheTestSetAndMarkWhatLearntNothing) {
  auto results = sample();
  results.push_back(result_of("mlm", "encoder", 0.0, 1, 0.60));
  const auto text = markdown_of(score_rows(results));
  EXPECT_THAT(text, HasSubstr("accuracy on 300 test rows"));
  EXPECT_THAT(text, HasSubstr("| nm diffusion | 0.3 | mlp | 2 | 0.530 ± 0.042 | 0.430 to 0.630 | 0.750 | - | - |"));
  EXPECT_THAT(text, HasSubstr("| yes (+0.150) |"));           // its interval, 0.5 to 0.7, lies above 0.45
  EXPECT_THAT(text, HasSubstr("| within noise (+0.080) |"));  // 0.43 to 0.63 does not
  EXPECT_THAT(text, HasSubstr("| **no** (-0.050) |"));
  EXPECT_LT(text.find("composition |"), text.find("nm diffusion"));
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
  expect_error<UserError>([&] { score_rows(results); }, {"different task files"});
  expect_error<UserError>([] { collect_results({"/nonexistent"}); }, {"/nonexistent", "no folder"});
  const testing::TemporaryFolder folder;
  expect_error<UserError>([&] { read_run_metrics(folder.path().string()); }, {"metrics.jsonl", "no run directory"});
  std::ofstream(folder / "metrics.jsonl") << "{\"kind\":\"train\"}\n{\"kind\":\"train\",\"step\":1}\n";
  expect_error<DataError>([&] { read_run_metrics(folder.path().string()); }, {"metrics.jsonl:1", "damaged"});
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
