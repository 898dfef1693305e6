// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "lsd/core/atomic_file.h"
#include "lsd/core/config.h"
#include "lsd/core/error.h"
#include "probe/probe_evaluation_internal.h"
#include "probe/probe_plan_internal.h"
#include "probe/stored_features_internal.h"
#include "support/expect_error.h"
#include "support/metric_lines.h"
#include "support/temporary_folder.h"
#include "tiny_models.h"

namespace lsd::tasks {
namespace {

using lsd::testing::expect_error;
using lsd::testing::run_on_ranks;

// Proteins whose class is whether they are rich in W; composition alone must solve it.
std::string tryptophan_task(bool pairs = false) {
  std::string text = pairs ? "id,sequence_a,sequence_b,label,split\n" : "id,sequence,label,split\n";
  const auto add = [&](int count, const char* split, int begin) {
    for (int i = begin; i < begin + count; ++i) {
      auto letters = testing::random_letters(20 + static_cast<std::size_t>(i % 7), static_cast<std::uint64_t>(i));
      if (i % 2 == 1) letters += "WWWWWWWW";
      const std::string second = pairs ? "," + testing::random_letters(15, static_cast<std::uint64_t>(i + 1000)) : "";
      text += fmt::format("q{},{}{},{},{}\n", i, letters, second, i % 2, split);
    }
  };
  add(40, "train", 0);
  add(20, "valid", 40);
  add(20, "test", 60);
  return text;
}

class ProbeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::write_tiny_autoencoder(folder_ / "nm");
    testing::write_tiny_diffusion(folder_ / "diffusion", folder_ / "nm");
    std::ofstream(folder_ / "w.csv") << tryptophan_task();
  }

  ProbeConfig config(const std::string& name) const {
    ProbeConfig config;
    config.run.directory = (folder_ / name).string();
    config.task.file = (folder_ / "w.csv").string();
    config.task.kind = "binary";
    config.features.autoencoder = (folder_ / "nm").string();
    config.features.diffusion = (folder_ / "diffusion").string();
    config.features.capacity = 256;
    config.sweep.representations = {"encoder", "diffusion"};
    config.sweep.times = {0.0, 0.5};
    config.sweep.seeds = {1, 2};
    config.head.hidden = 8;
    config.head.epochs = 40;
    config.head.batch = 8;
    config.head.learning_rate = 1e-2;
    return config;
  }

  void run(const ProbeConfig& config, int ranks = 1) const {
    EXPECT_EQ(run_on_ranks(ranks, [&](Runtime& runtime) { return probe(config, runtime); }), Outcome::done);
  }

  std::map<std::string, std::string> results(const std::string& name) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / name)) {
      if (entry.path().extension() == ".json" && entry.path().filename() != "environment.json") {
        files[entry.path().filename().string()] = read_text_file(entry.path());
      }
    }
    return files;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(ProbeTest, WritesOneFileForEachCombination) {
  run(config("out"));
  const auto files = results("out");
  // (encoder + diffusion at two t + composition) x two heads x two seeds, and the majority.
  EXPECT_EQ(files.size(), 4U * 2U * 2U + 1U);
  const auto text = files.at("w.nm.diffusion.t0_5.mlp.seed2.json");
  const auto json = nlohmann::json::parse(text);
  EXPECT_EQ(json["format"], "lsd-probe-result");
  EXPECT_EQ(json["task"]["test_rows"], 20);
  EXPECT_EQ(json["features"]["representation"], "diffusion");
  EXPECT_EQ(json["features"]["time"], 0.5);
  EXPECT_EQ(json["head"]["seed"], 2);
  EXPECT_EQ(json["test"]["metric"], "accuracy");
  EXPECT_GE(json["test"]["score"], json["test"]["interval"][0]);
  EXPECT_TRUE(json["test"].contains("auc") && json["test"].contains("mcc") && json["test"].contains("macro_f1"));
  // Rows of class 0 and 1 by turns; the score is the share of predictions that fit.
  EXPECT_EQ(json["rows"]["label"], "0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1");
  const auto predicted = json["rows"]["prediction"].get<std::string>(),
             labels = json["rows"]["label"].get<std::string>();
  double right = 0.0;
  for (std::size_t i = 0; i < labels.size(); i += 2) right += predicted.at(i) == labels[i] ? 1.0 : 0.0;
  EXPECT_DOUBLE_EQ(json["test"]["score"].get<double>(), right / 20.0);
  const auto composition = nlohmann::json::parse(files.at("w.baseline.composition.t0.linear.seed1.json"));
  EXPECT_EQ(composition["test"]["score"], 1.0);
  const auto majority = nlohmann::json::parse(files.at("w.baseline.majority.t0.none.seed0.json"));
  EXPECT_EQ(majority["test"]["score"], 0.5);
  EXPECT_EQ(majority["test"]["mcc"], 0.0);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out/DONE"));
}

TEST_F(ProbeTest, ResultsAreTheSameAgainAndForAnyNumberOfRanks) {
  run(config("one"), 1);
  const auto one = results("one");
  run(config("three"), 3);
  EXPECT_EQ(results("three"), one);
}

TEST_F(ProbeTest, MetricsNameEveryResultOfEveryRankOnce) {
  run(config("out"), 3);
  std::set<std::string> named;
  for (const auto& line : testing::metric_lines(folder_ / "out")) {
    const auto file = line["result"].get<std::string>();
    EXPECT_EQ(line["kind"], "head");
    EXPECT_TRUE(named.insert(file).second) << file;
    const auto result = nlohmann::json::parse(results("out").at(file));
    EXPECT_EQ(line["test"], result["test"]["score"]) << file;
    EXPECT_GE(line["seconds"], 0.0);
  }
  EXPECT_EQ(named.size(), results("out").size());
  run(config("out"), 2);
  EXPECT_EQ(testing::metric_lines(folder_ / "out").size(), named.size()) << "nothing was left to do";
}

TEST_F(ProbeTest, FinishedResultsAreSkippedAndMissingOnesMade) {
  run(config("out"));
  const auto all = results("out");
  const auto lost = folder_ / "out/w.nm.encoder.t0.linear.seed1.json",
             kept = folder_ / "out/w.nm.encoder.t0.mlp.seed1.json";
  std::filesystem::remove(lost);
  const auto time = std::filesystem::last_write_time(kept);
  run(config("out"), 2);
  EXPECT_EQ(results("out"), all);
  EXPECT_EQ(std::filesystem::last_write_time(kept), time);
  auto more = config("out");
  more.sweep.seeds = {1, 2, 3};
  run(more);
  EXPECT_EQ(results("out").size(), all.size() + 8U);
}

TEST_F(ProbeTest, RefusesAnotherProbeInTheSameFolder) {
  run(config("out"));
  auto other = config("out");
  other.head.hidden = 9;
  expect_error<UserError>([&] { run(other); }, {"another run"});
}

TEST_F(ProbeTest, ScoreAtZeroIsRefusedWhenNothingElseIsAskedOfIt) {
  auto score = config("out");
  score.sweep.representations = {"encoder", "score"};
  score.sweep.times = {0.0};
  expect_error<UserError>([&] { score.validate(); }, {"score is singular at t = 0", "sweep.times", "above 0"});
  score.sweep = {};
  score.features.representation = "score";  // at the default of features.time
  expect_error<UserError>([&] { score.validate(); }, {"score is singular at t = 0"});
  score.features.time = 0.5;
  score.validate();
  EXPECT_TRUE(plan_notes(score).empty());
}

TEST_F(ProbeTest, WhatIsLeftOutOfASweepIsSaid) {
  auto score = config("out");
  score.sweep.representations = {"score", "diffusion"};
  score.sweep.times = {0.0, 0.5};
  EXPECT_EQ(planned_features(score).size(), 3U);
  EXPECT_THAT(plan_notes(score), ::testing::ElementsAre(::testing::HasSubstr("score at t = 0 is left out")));
  score.sweep.representations = {"diffusion"};
  EXPECT_TRUE(plan_notes(score).empty());
}

TEST_F(ProbeTest, LabelsThatTellNothingAreRefusedBeforeAnyWork) {
  std::ofstream(folder_ / "w.csv")
      << "id,sequence,label,split\nq1,MK,1,train\nq2,ML,1,train\nq3,MV,0,valid\nq4,MA,1,test\n";
  expect_error<DataError>([&] { run(config("out")); }, {"w.csv", "all rows of split train have the label 1"});
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out"));
}

TEST_F(ProbeTest, PairsGetBothMeans) {
  std::ofstream(folder_ / "w.csv") << tryptophan_task(true);
  auto pairs = config("out");
  pairs.sweep.representations = {"encoder"};
  run(pairs);
  const auto files = results("out");
  const auto json = nlohmann::json::parse(files.at("w.baseline.composition.t0.linear.seed1.json"));
  EXPECT_EQ(json["task"]["pairs"], true);
  EXPECT_GT(json["test"]["score"].get<double>(), 0.5);  // the majority's
}

TEST_F(ProbeTest, StopsBetweenResults) {
  const auto chosen = config("out");
  EXPECT_EQ(run_on_ranks(
                2, [&](Runtime& runtime) { return probe(chosen, runtime); }, true),
            Outcome::stopped);
  EXPECT_TRUE(std::filesystem::exists(folder_ / "out/STOPPED"));
  run(chosen);
  EXPECT_EQ(results("out").size(), 17U);
}

// Dumps made beside the probe: the same bits as embedding within it.
class ProbeOfDumpsTest : public ProbeTest {
 protected:
  std::string dump(const std::string& name, const std::string& mode, const std::string& element = "float32",
                   const std::string& table = "w.csv") const {
    DumpLatentsConfig dumped;
    dumped.features = config("x").features;
    dumped.input.task = (folder_ / table).string();
    dumped.output = {.directory = (folder_ / name).string(), .mode = mode, .element = element};
    dumped.output.tokens_per_part = 1 << 18;
    run_on_ranks(2, [&](Runtime& runtime) { return dump_latents(dumped, runtime); });
    return dumped.output.directory;
  }

  ProbeConfig probe_of(const std::string& name, std::vector<std::string> dumps) const {
    auto chosen = config(name);
    chosen.features.autoencoder.clear();
    chosen.features.diffusion.clear();
    chosen.features.dump = std::move(dumps);
    chosen.run.model = "nm";
    return chosen;
  }
};

TEST_F(ProbeOfDumpsTest, StoredMeansGiveTheResultsOfTheModels) {
  auto models = config("models");
  models.sweep.representations = {"encoder"};
  run(models);
  const auto wanted = results("models");
  run(probe_of("stored", {dump("means", "means")}), 2);
  EXPECT_EQ(results("stored"), wanted);
  EXPECT_EQ(wanted.size(), 2U * 4U + 1U);
}

TEST_F(ProbeOfDumpsTest, ResiduesAreAveraged) {
  data::Task task = data::read_task(folder_ / "w.csv", {.kind = data::TaskKind::binary});
  const auto means = read_stored_features(stored_feature_sets({dump("means", "means")}).at(0), task);
  for (const auto& [element, tolerance] : {std::pair{"float32", 1e-5}, std::pair{"float16", 2e-3}}) {
    const auto sets = stored_feature_sets({dump(element, "residues", element)});
    const auto pooled = read_stored_features(sets.at(0), task);
    ASSERT_EQ(pooled.values.size(), means.values.size());
    for (std::size_t i = 0; i < means.values.size(); ++i) EXPECT_NEAR(pooled.values[i], means.values[i], tolerance);
    EXPECT_THAT(sets[0].origin(), ::testing::HasSubstr(std::string("mean of ") + element));
  }
}

// One dump holds a part of the sequences under other ids, the other one the rest.
TEST_F(ProbeOfDumpsTest, SequencesAreFoundInSeveralDumpsByTheirResidues) {
  std::istringstream lines(tryptophan_task());
  std::string header, first, second;
  std::getline(lines, header);
  int row = 0;
  for (std::string line; std::getline(lines, line); ++row) (row % 3 == 0 ? first : second) += "x" + line + "\n";
  for (int split = 0; split < 3; ++split) {  // every split needs a row
    const std::array<const char*, 3> names = {"train", "valid", "test"};
    first += fmt::format("y{},{},1,{}\n", split, testing::random_letters(9, 900U + static_cast<unsigned>(split)),
                         names[static_cast<std::size_t>(split)]);
  }
  std::ofstream(folder_ / "a.csv") << header << "\n" << first;
  std::ofstream(folder_ / "b.csv") << header << "\n" << second;
  const auto a = dump("a", "means", "float32", "a.csv"), b = dump("b", "means", "float32", "b.csv");
  const data::Task task = data::read_task(folder_ / "w.csv", {.kind = data::TaskKind::binary});
  const auto whole = read_stored_features(stored_feature_sets({dump("whole", "means")}).at(0), task);
  const auto joined = read_stored_features(stored_feature_sets({a, b}).at(0), task);
  ASSERT_EQ(joined.values.size(), whole.values.size());
  for (std::size_t i = 0; i < whole.values.size(); ++i) EXPECT_NEAR(joined.values[i], whole.values[i], 1e-5);
  expect_error<DataError>([&] { read_stored_features(stored_feature_sets({b}).at(0), task); },
                          {"27 of the task's 80 sequences", "b: q0, q3, q6, q9, q12, ...", "dump them too"});
}

TEST_F(ProbeOfDumpsTest, AnIdWithAnotherSequenceIsNoMatch) {
  std::string other = tryptophan_task();
  other.replace(other.find("q0,") + 3, 1, other[other.find("q0,") + 3] == 'W' ? "L" : "W");
  std::ofstream(folder_ / "other.csv") << other;
  const auto changed = dump("changed", "means", "float32", "other.csv");
  const data::Task task = data::read_task(folder_ / "w.csv", {.kind = data::TaskKind::binary});
  expect_error<DataError>([&] { read_stored_features(stored_feature_sets({changed}).at(0), task); },
                          {"1 of the task's", "q0", "under their id, with another sequence"});
}

TEST_F(ProbeOfDumpsTest, RefusesWhatDoesNotFit) {
  const auto means = dump("means", "means"), moments = dump("moments", "moments");
  expect_error<UserError>([&] { stored_feature_sets({moments}); }, {moments, "moments only"});
  testing::write_tiny_autoencoder(folder_ / "nm", 9);
  const auto other = dump("other", "means");
  expect_error<UserError>([&] { stored_feature_sets({means, other}); }, {means, other, "different models"});
  auto both = config("both").features;
  both.dump = {means};
  expect_error<UserError>([&] { both.validate(); }, {"not both"});
  expect_error<DataError>([&] { stored_feature_sets({(folder_ / "nm").string()}); }, {"manifest.json is missing"});
}

TEST(ShippedProbeConfigs, FitTheirPrograms) {
  const auto configs = std::filesystem::path(LSD_TESTS_FOLDER).parent_path() / "configs";
  std::map<std::string, std::string> kinds;
  for (const auto& entry : std::filesystem::directory_iterator(configs)) {
    if (!entry.path().filename().string().starts_with("probe_")) continue;
    const auto config = load_config<ProbeConfig>({entry.path()}, {"run.directory=out", "features.autoencoder=nm"});
    kinds[config.task.name] = config.task.kind;
    EXPECT_GE(config.sweep.seeds.size(), 3U);
    EXPECT_EQ(config.sweep.times, (std::vector<double>{0, 0.15, 0.3, 0.5, 0.7}));
  }
  const std::map<std::string, std::string> wanted = {{"deeploc10", "classes"},
                                                     {"deeploc2", "binary"},
                                                     {"human_ppi", "binary"},
                                                     {"metal_ion_binding", "binary"},
                                                     {"thermostability", "regression"}};
  EXPECT_EQ(kinds, wanted);
  EXPECT_EQ(load_config<ProbeConfig>({configs / "demo/probe.cfg"}).task.classes, 10);
  EXPECT_EQ(load_config<DumpLatentsConfig>({configs / "demo/dump.cfg"}).output.mode, "residues");
}

TEST(ProbeFeatures, CompositionByHand) {
  data::Task task;
  task.sequences = {{4, 4, 5, 24}};  // L L A X
  const auto features = composition_features(task);
  ASSERT_EQ(features.width, 21);
  EXPECT_FLOAT_EQ(features.values[0], 0.5F);
  EXPECT_FLOAT_EQ(features.values[1], 0.25F);
  EXPECT_FLOAT_EQ(features.values[2], 0.0F);
  EXPECT_FLOAT_EQ(features.values[20], std::log(4.0F));
}

TEST(ProbeFeatures, PairsStandOneBehindTheOther) {
  data::Task task{.pairs = true, .sequences = {{4}, {5}}};
  task.rows.push_back({.sequence = {0, 1}, .label = 1.0, .split = data::TaskSplit::test});
  task.rows.push_back({.sequence = {1, 1}, .label = 0.0, .split = data::TaskSplit::train});
  task.rows.push_back({.sequence = {1, 0}, .label = 0.0, .split = data::TaskSplit::test});
  const auto rows = rows_of_split(task, data::TaskSplit::test, {.width = 2, .values = {1, 2, 3, 4}});
  EXPECT_EQ(rows.features.columns, 4);
  EXPECT_THAT(rows.features.values, ::testing::ElementsAre(1, 2, 3, 4, 3, 4, 1, 2));
  EXPECT_THAT(rows.labels, ::testing::ElementsAre(1.0, 0.0));
}

// Training labels 2, 4, 9: mean 5 for every test row; the mean absolute error against 4 and 8 is 2.
TEST(ProbeFeatures, MeanBaselineOfARegression) {
  data::Task task{.kind = data::TaskKind::regression};
  const auto add = [&](double label, data::TaskSplit split) { task.rows.push_back({.label = label, .split = split}); };
  for (const double label : {2.0, 4.0, 9.0}) add(label, data::TaskSplit::train);
  add(1.0, data::TaskSplit::valid);
  add(4.0, data::TaskSplit::test);
  add(8.0, data::TaskSplit::test);
  ProbeResult result;
  evaluate_majority(task, 50, result);
  EXPECT_EQ(result.test_score, 0.0);
  EXPECT_DOUBLE_EQ(*result.test.at("mean_absolute_error"), 2.0);
}

TEST(ProbeResults, AreReadBackAndDamageIsTold) {
  const testing::TemporaryFolder folder;
  ProbeResult result{
      .task = "t", .kind = "binary", .model = "nm", .representation = "eps", .time = 0.15, .head = "mlp", .seed = 3};
  result.metric = "accuracy";
  result.test = {{"auc", std::nullopt}, {"accuracy", 0.5}};
  result.interval = {0.25, 0.75};
  result.test_rows = 3;
  result.predictions = {1.0, 0.1, -2.5e-300};
  result.labels = {1.0, 0.0, 0.30000000000000004};
  result.fingerprint = result.compute_fingerprint();
  write_result(folder.path(), result);
  const auto file = folder / result.file_name();
  const auto read = read_result(file);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->compute_fingerprint(), result.fingerprint);
  EXPECT_EQ(read->test, result.test);
  EXPECT_EQ(read->interval.high, 0.75);
  EXPECT_EQ(read->predictions, result.predictions);
  EXPECT_EQ(read->labels, result.labels);
  EXPECT_EQ(read->file, file);

  const std::string good = read_text_file(file);
  std::ofstream(file) << good.substr(0, good.size() / 2);
  expect_error<DataError>([&] { read_result(file); }, {file.string(), "damaged"});
  std::string other = good;
  other.replace(other.find("\"version\": 1"), 12, "\"version\": 7");
  std::ofstream(file) << other;
  expect_error<DataError>([&] { read_result(file); }, {"version 7"});
  std::string fewer = good;
  fewer.replace(fewer.find("\"prediction\": \"1 "), 17, "\"prediction\": \"");
  std::ofstream(file) << fewer;
  expect_error<DataError>([&] { read_result(file); }, {"2 predictions and 3 labels for 3 test rows"});
  std::ofstream(file) << "{\"something\": 1}";
  EXPECT_FALSE(read_result(file).has_value());
}

}  // namespace
}  // namespace lsd::tasks
