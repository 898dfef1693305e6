// SPDX-License-Identifier: Apache-2.0
#include "lsd/io/attempt.h"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <set>
#include <thread>
#include <vector>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lsd::io {
namespace {

namespace fs = std::filesystem;
using lsd::testing::expect_error;
using lsd::testing::TemporaryFolder;
using ::testing::UnorderedElementsAre;

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  return names;
}

TEST(Attempts, CountFromOneAndSayWhoTheyAre) {
  const TemporaryFolder folder;
  EXPECT_EQ(newest_attempt(folder.path()).number, 0);
  ::setenv("SLURM_JOB_ID", "77", 1);
  ::setenv("SLURM_RESTART_COUNT", "2", 1);
  EXPECT_EQ(Attempt::begin(folder / "run").number(), 1);
  ::unsetenv("SLURM_JOB_ID");
  ::unsetenv("SLURM_RESTART_COUNT");
  const auto info = newest_attempt(folder / "run");
  EXPECT_EQ(info.number, 1);
  EXPECT_EQ(info.pid, ::getpid());
  EXPECT_EQ(info.job, "77 (restart 2)");
  EXPECT_NE(info.host, "");
  EXPECT_EQ(info.time.size(), 20U);
  const auto second = Attempt::begin(folder / "run");
  EXPECT_EQ(second.number(), 2);
  EXPECT_EQ(second.folder(), folder / "run" / "attempts" / "0002");
  EXPECT_EQ(newest_attempt(folder / "run").job, "");
}

TEST(Attempts, OnlyTheNewestIsCurrent) {
  const TemporaryFolder folder;
  ::setenv("SLURM_JOB_ID", "100", 1);
  const auto older = Attempt::begin(folder.path());
  older.check_current();
  ::setenv("SLURM_JOB_ID", "101", 1);
  const auto newer = Attempt::begin(folder.path());
  ::unsetenv("SLURM_JOB_ID");
  newer.check_current();
  EXPECT_FALSE(older.is_current());
  expect_error<SystemError>([&] { older.check_current(); },
                            {"attempt 1 (host ", "job 100", "superseded by attempt 2 (host ", "job 101"});
  const auto other_rank = Attempt::join(folder.path(), older.number());
  expect_error<SystemError>([&] { other_rank.check_current(); }, {"superseded by attempt 2"});
}

TEST(Attempts, ASupersededOneWritesNothing) {
  const TemporaryFolder folder;
  const auto older = Attempt::begin(folder.path());
  older.write_file(folder / "latest", "one\n");
  const auto newer = Attempt::begin(folder.path());
  newer.write_file(folder / "latest", "two\n");
  EXPECT_THROW(older.write_file(folder / "latest", "three\n"), SystemError);
  EXPECT_EQ(read_text_file(folder / "latest"), "two\n");
  EXPECT_THAT(names_in(folder.path()), UnorderedElementsAre("attempts", "latest"));
}

// A newer attempt that died before it said who it is supersedes all the same.
TEST(Attempts, OneWithoutItsFileCountsToo) {
  const TemporaryFolder folder;
  const auto older = Attempt::begin(folder.path());
  fs::create_directory(folder / "attempts/0002");
  expect_error<SystemError>([&] { older.check_current(); }, {"superseded by attempt 2:"});
  std::ofstream(folder / "attempts/0002/attempt.json") << "{\"host\": 7";
  expect_error<SystemError>([&] { older.check_current(); }, {"superseded by attempt 2:"});
  EXPECT_EQ(Attempt::begin(folder.path()).number(), 3);
}

TEST(Attempts, LeftoversOfOlderOnesGoAndAllElseStays) {
  const TemporaryFolder folder;
  const auto older = Attempt::begin(folder.path());
  const auto newer = Attempt::begin(folder.path());
  const auto dead = older.partial_path(folder / "checkpoint-00000005");
  fs::create_directory(dead);
  std::ofstream(dead / "model.safetensors") << "half";
  std::ofstream(older.partial_path(folder / "latest")) << "half";
  const auto own = newer.partial_path(folder / "checkpoint-00000006/");
  const auto later = Attempt::join(folder.path(), 12345).partial_path(folder / "checkpoint-00000007");
  EXPECT_THAT(own.filename().string(), ::testing::StartsWith("checkpoint-00000006.a0002."));
  EXPECT_THAT(later.filename().string(), ::testing::StartsWith("checkpoint-00000007.a12345."));
  fs::create_directory(own);
  fs::create_directory(later);
  const std::vector<std::string> others = {"latest", "checkpoint-00000004", "x.1234abcd-0.partial", "data.a0001.h5"};
  for (const auto& name : others) std::ofstream(folder / name) << "whole";
  newer.remove_older_partials(folder.path());
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_THAT(names_in(folder.path()),
              UnorderedElementsAre("attempts", own.filename().string(), later.filename().string(), others[0], others[1],
                                   others[2], others[3]));
}

TEST(Attempts, BegunAtTheSameMomentByManyProcessesAllDiffer) {
  const TemporaryFolder folder;
  constexpr int kProcesses = 8, kEach = 20;
  std::vector<pid_t> children;
  for (int child = 0; child < kProcesses; ++child) {
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      for (int i = 0; i < kEach; ++i) {
        const auto number = Attempt::begin(folder.path()).number();
        std::ofstream(folder / ("taken-" + std::to_string(number) + "-" + std::to_string(child))) << "";
      }
      ::_exit(0);
    }
    children.push_back(pid);
  }
  for (const auto pid : children) {
    int status = 1;
    ::waitpid(pid, &status, 0);
    EXPECT_EQ(status, 0);
  }
  std::set<std::string> numbers;
  for (const auto& name : names_in(folder.path()))
    if (name.starts_with("taken-")) numbers.insert(name.substr(6, name.rfind('-') - 6));
  EXPECT_EQ(numbers.size(), static_cast<std::size_t>(kProcesses * kEach)) << "no number is taken twice";
  EXPECT_EQ(newest_attempt(folder.path()).number, kProcesses * kEach);
}

TEST(Attempts, AFolderThatCannotBeWrittenIsNamed) {
  const TemporaryFolder folder;
  std::ofstream(folder / "file") << "";
  expect_error<SystemError>([&] { Attempt::begin(folder / "file"); }, {"cannot make the folder", "file/attempts"});
}

}  // namespace
}  // namespace lsd::io
