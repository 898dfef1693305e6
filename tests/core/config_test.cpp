// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/program_options.hpp>
#include <map>
#include <sstream>

#include "core/sample_config.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

using lsd::testing::expect_error;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

namespace lsd {
namespace {

class ConfigFiles : public ::testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((folder_ / name).parent_path());
    write_file_atomically(folder_ / name, text);
    return folder_ / name;
  }
  SampleConfig load(const std::string& text, const std::vector<std::string>& overrides = {}) const {
    return load_config<SampleConfig>({write("a.cfg", text)}, overrides);
  }
  // The file's text is refused with a message that holds every one of `words`.
  void refuse(const std::string& text, std::initializer_list<std::string> words) const {
    SCOPED_TRACE(text);
    expect_error<UserError>([&] { load(text); }, words);
  }

  testing::TemporaryFolder folder_;
};

TEST_F(ConfigFiles, SetEveryTypeAndKeepDefaults) {
  const auto config = load(
      "\xEF\xBB\xBF# a comment\r\nseed = 7\r\n\n[ optimizer ]\nlearning_rate = 1e-3 # why not\nname=lion\n"
      "[optimizer.schedule]\nwarmup = +5\n[data]\nfiles = a.fasta, b c.fasta ,d\nweights = 1,2.5\nshuffle = off\n");
  EXPECT_EQ(config.seed, 7);
  EXPECT_EQ(config.optimizer.learning_rate, 1e-3);
  EXPECT_EQ(config.optimizer.name, "lion");
  EXPECT_EQ(config.optimizer.schedule.warmup, 5);
  EXPECT_THAT(config.data.files, ElementsAre("a.fasta", "b c.fasta", "d"));
  EXPECT_THAT(config.data.weights, ElementsAre(1.0, 2.5));
  EXPECT_FALSE(config.data.shuffle);
  EXPECT_EQ(config.data.limit, 100);
}

TEST_F(ConfigFiles, OverridesWinOverFilesAndLaterFilesOverEarlier) {
  const auto first = write("1.cfg", "seed = 1\n[data]\nfiles = x\nlimit = 1\n");
  const auto second = write("2.cfg", "[data]\nlimit = 2\n");
  const auto config = load_config<SampleConfig>({first, second}, {"seed=3"});
  EXPECT_EQ(config.seed, 3);
  EXPECT_EQ(config.data.limit, 2);
  EXPECT_THAT(config.data.files, ElementsAre("x"));
}

TEST_F(ConfigFiles, IncludedKeysAreTheBaseWhereverTheLineStands) {
  write("base/common.cfg", "include = deeper/root.cfg\nseed = 5\n[data]\nfiles = base\nlimit = 3\n");
  write("base/deeper/root.cfg", "seed = 4\n[optimizer]\nname = lion\n");
  const auto config = load("seed = 6\ninclude = base/common.cfg\n[data]\nlimit = 9\n");
  EXPECT_EQ(config.seed, 6);
  EXPECT_EQ(config.data.limit, 9);
  EXPECT_THAT(config.data.files, ElementsAre("base"));
  EXPECT_EQ(config.optimizer.name, "lion");
}

TEST_F(ConfigFiles, RefuseUnknownKeysWithLineAndSuggestion) {
  refuse("\n[optimizer]\nlerning_rate = 1\n",
         {"a.cfg:3", "unknown key optimizer.lerning_rate", "optimizer.learning_rate?"});
  refuse("[data]\nlearning_rate = 1\n", {"a.cfg:2", "did you mean optimizer.learning_rate?"});
  refuse("quite_another_thing = 1\n", {"a.cfg:1", "see --help"});
  refuse("[optimiser]\nname = lion\n",
         {"a.cfg:1", "unknown section [optimiser]", "data, optimizer, optimizer.schedule"});
}

TEST_F(ConfigFiles, RefuseAKeyGivenTwice) {
  refuse("seed = 1\n[data]\nlimit = 1\n\nlimit = 1\n", {"a.cfg:5", "data.limit is given twice", "a.cfg:3"});
  refuse("[data]\nlimit = 1\n[optimizer]\n[data]\nlimit = 1\n", {"a.cfg:5", "twice"});
}

TEST_F(ConfigFiles, RefuseWrongValues) {
  refuse("[optimizer]\nlearning_rate = 1.5\n", {"a.cfg:2", "1.5 is out of range (0 to 1)", "peak learning rate"});
  refuse("[optimizer]\nlearning_rate = fast\n", {"a.cfg:2", "not a number"});
  refuse("[optimizer]\nlearning_rate = 1e-3x\n", {"not a number"});
  refuse("[optimizer]\nlearning_rate = nan\n", {"not a finite number"});
  refuse("[optimizer]\nlearning_rate = 1e999\n", {"too large"});
  refuse("[optimizer]\nlearning_rate =\n", {"not a number"});
  refuse("seed = 1.0\n", {"a.cfg:1", "not a whole number"});
  refuse("seed = 99999999999999999999\n", {"too large"});
  refuse("seed = -1\n", {"at least 0"});
  refuse("[optimizer]\nname = sgd\n", {"a.cfg:2", "'sgd' is not one of adamw or lion"});
  refuse("[data]\nshuffle = maybe\n", {"neither true nor false"});
  refuse("[data]\nfiles = a,,b\n", {"an empty entry"});
  refuse("[data]\nweights = 1, two\n", {"'two': not a number"});
  refuse("[data]\nweights = 1, -2\n", {"-2 is out of range"});
}

TEST_F(ConfigFiles, RefuseWhatIsNotIni) {
  refuse("seed 1\n", {"a.cfg:1", "neither 'key = value'"});
  refuse("= 1\n", {"a.cfg:1", "no key"});
  refuse("[data\nlimit = 1\n", {"a.cfg:1", "[name]"});
  refuse("[data]\ninclude = b.cfg\n", {"a.cfg:2", "before the first section"});
}

TEST_F(ConfigFiles, RefuseIncludeCyclesAndMissingFiles) {
  write("b.cfg", "include = c.cfg\n");
  write("c.cfg", "\ninclude = ./a.cfg\n");
  refuse("include = b.cfg\n", {"c.cfg:2", "includes itself", "a.cfg -> ", "b.cfg -> ", "c.cfg -> "});
  expect_error<DataError>([&] { load("include = none.cfg\n"); }, {"none.cfg", "included at", "a.cfg:1"});
  expect_error<DataError>([&] { load_config<SampleConfig>({folder_ / "none.cfg"}); }, {"none.cfg"});
}

TEST_F(ConfigFiles, RefuseAMissingRequiredKeyAndBrokenRules) {
  refuse("seed = 1\n", {"data.files must be given", "FASTA files", "--data.files="});
  refuse("[data]\nfiles = x\nweights = 1, 2, 3\nlimit = 2\n", {"more weights than the limit"});
}

TEST_F(ConfigFiles, PrintedConfigReadsBackTheSame) {
  const auto config = load(
      "seed = 123456789012345678\n[optimizer]\nlearning_rate = 0.1\n[data]\nfiles = a, b\n"
      "weights = 0.30000000000000004, 1e-300\nshuffle = no\n");
  const auto text = config_text(config);
  const auto again = load(text);
  EXPECT_EQ(config_text(again), text);
  EXPECT_EQ(again.data.weights, config.data.weights);
  EXPECT_EQ(config_fingerprint(again), config_fingerprint(config));
  EXPECT_THAT(text, HasSubstr("[optimizer.schedule]\nwarmup = 10\n"));
}

// The form is Boost.Program_options' own: its parser reads the same keys and values.
TEST_F(ConfigFiles, PrintedConfigIsBoostsForm) {
  namespace po = boost::program_options;
  SampleConfig config;
  config.data.files = {"a", "b"};
  auto schema = describe(config);
  po::options_description description;
  for (const auto& field : schema.fields()) description.add_options()(field.name.c_str(), po::value<std::string>());
  std::istringstream stream(schema.text());
  std::map<std::string, std::string> read;
  for (const auto& option : po::parse_config_file(stream, description).options)
    read[option.string_key] = option.value.at(0);
  EXPECT_EQ(read.size(), schema.fields().size());
  for (const auto& field : schema.fields()) EXPECT_EQ(read.at(field.name), schema.value_text(field)) << field.name;
}

TEST(Config, ValuesThatAFileCannotHoldAreRefused) {
  expect_error<UserError>([] { load_config<SampleConfig>({}, {"data.files=a#b"}); }, {"data.files", "'#'"});
  expect_error<UserError>([] { load_config<SampleConfig>({}, {"data.files=a\nb"}); }, {"line break"});
  expect_error<UserError>([] { load_config<SampleConfig>({}, {"data.files"}); }, {"section.key=value"});
}

struct OlderConfig {
  double rate = 0.5;
  static void visit(auto& self, auto&& field) { field("rate", self.rate, {.help = "rate"}); }
};
struct NewerConfig {
  double rate = 0.5, decay = 0.9999;
  std::string kind = "old";
  static void visit(auto& self, auto&& field) {
    field("rate", self.rate, {.help = "rate"});
    field("decay", self.decay, {.help = "decay", .value_before = "0.9999"});
    field("kind", self.kind, {.help = "kind", .choices = "old|new", .value_before = "old"});
  }
};

TEST(Config, KeysOfLaterVersionsLeaveTheFingerprintOfEarlierRuns) {
  NewerConfig newer;
  const auto older = config_fingerprint(OlderConfig{});
  EXPECT_EQ(config_fingerprint(newer), older);
  newer.decay = 0.999;
  EXPECT_NE(config_fingerprint(newer), older);
  newer = {.kind = "new"};
  EXPECT_NE(config_fingerprint(newer), older);
}

TEST(Config, FingerprintSeesChosenKeysOnly) {
  SampleConfig a;
  SampleConfig b;
  b.data.limit = 99;
  EXPECT_NE(config_fingerprint(a), config_fingerprint(b));
  EXPECT_EQ(config_fingerprint(a, {"optimizer", "seed"}), config_fingerprint(b, {"optimizer", "seed"}));
  EXPECT_EQ(config_fingerprint(a, {""}, {"data.limit"}), config_fingerprint(b, {""}, {"data.limit"}));
  b.optimizer.schedule.warmup = 11;
  EXPECT_NE(config_fingerprint(a, {"optimizer"}), config_fingerprint(b, {"optimizer"}));
  EXPECT_EQ(config_fingerprint(a).size(), 16U);
}

TEST(Config, HelpNamesEveryKeyWithinAHundredColumns) {
  SampleConfig config;
  const auto schema = describe(config);
  const auto help = schema.help();
  for (const auto& field : schema.fields()) {
    EXPECT_THAT(help, HasSubstr("--" + field.name));
    EXPECT_THAT(help, HasSubstr(std::string(field.info.help.substr(0, 12))));
  }
  EXPECT_THAT(help, HasSubstr("(default 0.0004; 0 to 1)"));
  EXPECT_THAT(help, HasSubstr("adamw or lion"));
  EXPECT_THAT(help, HasSubstr("required"));
  std::istringstream lines(help);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
}

TEST(Config, ADefaultOutOfItsOwnRangeIsFound) {
  SampleConfig config;
  config.data.files = {"x"};
  EXPECT_NO_THROW(describe(config).validate());
  config.optimizer.learning_rate = 2;
  expect_error<UserError>([&] { describe(config).validate(); }, {"optimizer.learning_rate", "out of range"});
}

}  // namespace
}  // namespace lsd
