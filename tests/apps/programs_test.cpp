// SPDX-License-Identifier: Apache-2.0
// What every program of the pipeline promises at its command line, asked of the programs themselves.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "support/run_program.h"

using ::testing::HasSubstr;

namespace lsd::testing {
namespace {

std::vector<std::string> programs() {
  std::istringstream names(LSD_PROGRAMS);
  return {std::istream_iterator<std::string>(names), {}};
}

std::string name_of(const std::string& program) {
  return std::filesystem::path(program).filename();
}

class EveryProgram : public ::testing::TestWithParam<std::string> {};

TEST_P(EveryProgram, HelpNamesEveryKeyWithinAHundredColumns) {
  const auto help = run_program(GetParam() + " --help");
  const auto config = run_program(GetParam() + " --print-config");
  EXPECT_EQ(help.exit_code, 0) << help.err;
  EXPECT_EQ(config.exit_code, 0) << config.err;
  EXPECT_THAT(help.out, HasSubstr("Example:"));
  std::istringstream help_lines(help.out);
  bool in_example = false;  // examples are commands, which are not broken
  for (std::string line; std::getline(help_lines, line);) {
    if (line.starts_with("Example:") || line.empty()) in_example = !line.empty();
    EXPECT_TRUE(in_example || line.size() <= 100) << line;
  }
  std::istringstream config_lines(config.out);
  std::string section;
  int keys = 0;
  for (std::string line; std::getline(config_lines, line);) {
    if (line.starts_with('[')) section = line.substr(1, line.size() - 2) + ".";
    const auto equals = line.find(" =");
    if (equals == std::string::npos) continue;
    EXPECT_THAT(help.out, HasSubstr("--" + section + line.substr(0, equals) + " "));
    ++keys;
  }
  EXPECT_GT(keys, 0);
}

TEST_P(EveryProgram, PrintedConfigReadsBackTheSame) {
  const TemporaryFolder folder;
  const auto first = run_program(GetParam() + " --print-config");
  write_file_atomically(folder / "a.cfg", first.out);
  EXPECT_EQ(run_program(GetParam() + " --print-config --config " + (folder / "a.cfg").string()).out, first.out);
}

TEST_P(EveryProgram, NamesItselfAndItsLibraries) {
  const auto version = run_program(GetParam() + " --version");
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_THAT(version.out, HasSubstr(name_of(GetParam()) + " "));
  EXPECT_THAT(version.out, HasSubstr("HDF5"));
}

TEST_P(EveryProgram, RefusesTyposBeforeAnythingElse) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a.cfg", "\nno_such_key = 1\n");
  const auto file = run_program(GetParam() + " --config " + (folder / "a.cfg").string());
  EXPECT_EQ(file.exit_code, 1);
  EXPECT_THAT(file.err, HasSubstr("a.cfg:2: unknown key no_such_key"));
  const auto option = run_program(GetParam() + " --no-such.key=1");
  EXPECT_EQ(option.exit_code, 1);
  EXPECT_THAT(option.err, HasSubstr("unknown option --no_such.key"));
}

// What a program's help tells to type: `--key=value` and `--key value`, as pairs, and words without a key.
std::vector<std::pair<std::string, std::string>> options_of_example(const std::string& program) {
  const auto help = run_program(program + " --help").out;
  const auto begin = help.find("Example:\n") + 9;
  std::istringstream words(help.substr(begin, help.find('\n', begin) - begin));
  std::vector<std::pair<std::string, std::string>> options;
  std::string key;
  bool named = false;  // behind the program's name
  for (std::string word; words >> word;) {
    const auto equals = word.find('=');
    if (named && word.starts_with("--")) {
      key = word.substr(2, equals == std::string::npos ? equals : equals - 2);
      if (equals != std::string::npos) options.emplace_back(std::exchange(key, ""), word.substr(equals + 1));
    } else if (named) {
      options.emplace_back(std::exchange(key, ""), word);
    }
    named |= word == name_of(program);
  }
  return options;
}

// A newcomer types them one after the other.
TEST(Examples, ReadWhatIsBundledOrWhatTheExampleOfAStageBeforeWrites) {
  const std::set<std::string> outputs = {"output.directory", "run.directory", "directory", "output", "json"};
  std::set<std::string> written;
  for (const auto& program : programs()) {
    for (const auto& [key, value] : options_of_example(program)) {
      if (!outputs.contains(key)) continue;
      EXPECT_TRUE(written.insert(value).second) << value << " is written by two examples";
    }
  }
  int read = 0;
  for (const auto& program : programs()) {
    for (const auto& [key, value] : options_of_example(program)) {
      std::istringstream paths(value);
      for (std::string path; !outputs.contains(key) && std::getline(paths, path, ',');) {
        if (path.find('/') == std::string::npos) continue;
        ++read;
        const auto bundled = std::filesystem::path(LSD_TESTS_FOLDER).parent_path() / path;
        EXPECT_TRUE(written.contains(path) || std::filesystem::exists(bundled)) << name_of(program) << ": " << path;
      }
    }
  }
  EXPECT_GT(read, 10);
}

TEST(Programs, OnlyThoseThatUseRanksSpeakOfThem) {
  for (const auto& program : programs()) {
    const auto help = run_program(program + " --help").out;
    const std::set<std::string> alone = {"lsd_report", "lsd_import_esm2", "lsd_make_synthetic_fasta"};
    const bool uses_ranks = !alone.contains(name_of(program));
    EXPECT_EQ(help.find("mpirun") != std::string::npos, uses_ranks) << name_of(program);
    EXPECT_EQ(help.find("75 stopped early") != std::string::npos, uses_ranks) << name_of(program);
  }
}

INSTANTIATE_TEST_SUITE_P(Programs, EveryProgram, ::testing::ValuesIn(programs()),
                         [](const auto& program) { return name_of(program.param); });

}  // namespace
}  // namespace lsd::testing
