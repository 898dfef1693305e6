// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/sample_config.h"
#include "lsd/core/error.h"
#include "support/expect_error.h"

using lsd::testing::expect_error;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

namespace lsd {
namespace {

CommandLine parse(const std::vector<std::string>& arguments, bool has_backend = true) {
  SampleConfig config;
  return parse_command_line(describe(config), has_backend, arguments);
}

TEST(CommandLine, ReadsRunOptionsAndKeysInBothForms) {
  const auto line = parse({"--config", "a.cfg", "--config=b.cfg", "--seed", "-5", "--data.files=a,b", "--quiet",
                           "--backend", "cpu", "--threads=3", "--print-config", "--deterministic"});
  EXPECT_THAT(line.config_files, ElementsAre("a.cfg", "b.cfg"));
  EXPECT_THAT(line.values, ElementsAre(Pair("seed", "-5"), Pair("data.files", "a,b")));
  EXPECT_TRUE(line.quiet && line.print_config && line.deterministic);
  EXPECT_FALSE(line.help || line.version);
  EXPECT_EQ(line.backend, "cpu");
  EXPECT_EQ(line.threads, 3);
  EXPECT_EQ(line.device, -1);
}

TEST(CommandLine, TakesDashesForUnderscoresInKeys) {
  EXPECT_THAT(parse({"--optimizer.learning-rate=1"}).values, ElementsAre(Pair("optimizer.learning_rate", "1")));
}

TEST(CommandLine, RefusesWhatItDoesNotKnow) {
  expect_error<UserError>([] { parse({"--optimizer.lerning_rate=1"}); },
                          {"unknown option", "optimizer.learning_rate?"});
  expect_error<UserError>([] { parse({"--optimizer.learning=1"}); }, {"unknown option"});  // no guessing by prefix
  expect_error<UserError>([] { parse({"a.cfg"}); }, {"stray argument 'a.cfg'", "--config a.cfg"});
  expect_error<UserError>([] { parse({"--seed=1", "--seed=2"}); }, {"--seed is given twice"});
  expect_error<UserError>([] { parse({"--seed"}); }, {"seed", "--help"});
  expect_error<UserError>([] { parse({"--threads=many"}); }, {"--threads", "not a whole number"});
  expect_error<UserError>([] { parse({"--threads=-1"}); }, {"0 to 4096"});
}

TEST(CommandLine, ProgramsWithoutABackendHaveNoOptionsForIt) {
  expect_error<UserError>([] { parse({"--backend=cpu"}, /*has_backend=*/false); }, {"unknown option --backend"});
  EXPECT_THAT(command_line_help(true), HasSubstr("--backend"));
  EXPECT_EQ(command_line_help(false).find("--backend"), std::string::npos);
}

TEST(CommandLine, ValuesWinOverFiles) {
  SampleConfig config;
  auto schema = describe(config);
  const auto line = parse_command_line(schema, true, {"--seed=3", "--config=a", "--config=b"});
  apply_command_line(line, schema, [](const std::filesystem::path& path) {
    return std::string(path == "a" ? "seed = 1\n[data]\nlimit = 1\n" : "seed = 2\n[data]\nlimit = 2\n");
  });
  EXPECT_EQ(config.seed, 3);
  EXPECT_EQ(config.data.limit, 2);
}

TEST(CommandLine, AWrongValueNamesItsOption) {
  SampleConfig config;
  auto schema = describe(config);
  const auto line = parse_command_line(schema, true, {"--optimizer.learning_rate=7"});
  expect_error<UserError>([&] { apply_command_line(line, schema, {}); }, {"--optimizer.learning_rate", "out of range"});
}

}  // namespace
}  // namespace lsd
