// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/run_dir.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace fs = std::filesystem;
using lsd::testing::expect_error;

namespace lsd {
namespace {

RunDir open_run(const fs::path& folder) {
  return RunDir(folder, "lsd_x", "a = 1\n", "00ff", 2, "a device");
}

TEST(RunDir, KeepsConfigAndEnvironmentOfEveryStart) {
  const testing::TemporaryFolder folder;
  open_run(folder / "run");
  open_run(folder / "run");
  EXPECT_EQ(read_text_file(folder / "run/config.cfg"), "a = 1\n");
  const auto environment = nlohmann::json::parse(read_text_file(folder / "run/environment.json"));
  EXPECT_EQ(environment["program"], "lsd_x");
  ASSERT_EQ(environment["starts"].size(), 2U);
  for (const auto* key : {"time", "version", "git_revision", "compiler", "libraries", "host", "backend"})
    EXPECT_NE(environment["starts"][0].value(key, ""), "") << key;
  EXPECT_EQ(environment["starts"][1]["ranks"], 2);
}

TEST(RunDir, StatesFollowTheRun) {
  const testing::TemporaryFolder folder;
  RunDir run = open_run(folder / "run");
  EXPECT_EQ(run.state(), RunState::fresh);
  EXPECT_EQ(open_run(folder / "run").state(), RunState::running);
  run.commit_state(RunState::stopped, "SIGTERM");
  EXPECT_EQ(run.state(), RunState::stopped);
  run.commit_state(RunState::done, "all steps done");
  EXPECT_EQ(run.state(), RunState::done);
  EXPECT_FALSE(fs::exists(folder / "run/STOPPED"));
  EXPECT_EQ(nlohmann::json::parse(read_text_file(folder / "run/DONE"))["reason"], "all steps done");
  run.clear_state();
  EXPECT_FALSE(fs::exists(folder / "run/DONE"));
}

TEST(RunDir, AReasonThatStandsIsNotReplacedByALesserOne) {
  const testing::TemporaryFolder folder;
  RunDir run = open_run(folder / "run");
  EXPECT_TRUE(commit_run_state_unless_ended(folder / "run", RunState::stopped, "rank 1 was lost"));
  EXPECT_EQ(run.state(), RunState::stopped);
  run.commit_state(RunState::failed, "the disk is full");
  EXPECT_FALSE(commit_run_state_unless_ended(folder / "run", RunState::stopped, "rank 1 was lost"));
  EXPECT_EQ(run.state(), RunState::failed);
  EXPECT_FALSE(fs::exists(folder / "run/STOPPED"));
}

TEST(RunDir, RefusesAnotherRunsFolder) {
  const testing::TemporaryFolder folder;
  open_run(folder / "run");
  expect_error<UserError>([&] { RunDir(folder / "run", "lsd_x", "", "00fe"); }, {"another run", "00ff", "00fe"});
  expect_error<UserError>([&] { RunDir(folder / "run", "lsd_y", "", "00ff"); }, {"another run", "lsd_y"});
  EXPECT_EQ(read_text_file(folder / "run/config.cfg"), "a = 1\n");
}

RunDir open_mended(const fs::path& folder) {
  return RunDir(folder, "lsd_x", "a = 2\n", "00fe", 2);
}

// What a start leaves that was refused: a wrong option, too little memory or disk.
void leave_refused_start(const fs::path& folder) {
  open_run(folder).commit_state(RunState::failed, "not enough space");
  fs::create_directories(folder / "attempts/0001");
  write_file_atomically(folder / "attempts/0001/attempt.json", "{}");
  fs::create_directories(folder / "checkpoints");
  write_file_atomically(folder / "metrics.jsonl", "");
}

TEST(RunDir, TheMendedCommandTakesOverTheFolderOfARefusedOne) {
  const testing::TemporaryFolder folder;
  leave_refused_start(folder / "run");
  EXPECT_EQ(open_mended(folder / "run").state(), RunState::fresh);
  EXPECT_EQ(read_text_file(folder / "run/config.cfg"), "a = 2\n");
  EXPECT_FALSE(fs::exists(folder / "run/FAILED"));
  EXPECT_TRUE(fs::exists(folder / "run/attempts/0001"));  // the next attempt is the second and outranks it
  const auto environment = nlohmann::json::parse(read_text_file(folder / "run/environment.json"));
  EXPECT_EQ(environment["fingerprint"], "00fe");
  EXPECT_EQ(environment["starts"].size(), 1U);
  // The first one has lost it.
  expect_error<UserError>([&] { open_run(folder / "run"); }, {"another run", "may still run (started 20", "remove"});
}

TEST(RunDir, NothingThatWasMadeIsTakenOver) {
  for (const auto* made : {"checkpoints/latest", "checkpoints/checkpoint-00000003/state.json", "metrics.jsonl", "DONE",
                           "part-00000-of-00001.h5", "train-00000-of-00001.h5", "tasks/notes.txt", "attempts/notes"}) {
    SCOPED_TRACE(made);
    const testing::TemporaryFolder folder;
    leave_refused_start(folder / "run");
    fs::create_directories((folder / "run" / made).parent_path());
    write_file_atomically(folder / "run" / made, "{}");
    expect_error<UserError>([&] { open_mended(folder / "run"); }, {"another run", "choose another folder"});
    EXPECT_EQ(read_text_file(folder / "run" / made), "{}");
    EXPECT_EQ(read_text_file(folder / "run/config.cfg"), "a = 1\n");
  }
}

TEST(RunDir, AStartThatHasNotEndedKeepsItsFolder) {
  const testing::TemporaryFolder folder;
  open_run(folder / "run");
  expect_error<UserError>([&] { open_mended(folder / "run"); }, {"another run", "made nothing yet", "may still run"});
  expect_error<UserError>([&] { claim_run_folder(folder / "run", "lsd_x", "00fe"); }, {"may still run"});
}

TEST(RunDir, AnArraysFolderIsTakenOverOnceAllItsTasksHaveEnded) {
  const testing::TemporaryFolder folder;
  const auto task = folder / "run/tasks/0000-of-0002", other = folder / "run/tasks/0001-of-0002";
  claim_run_folder(folder / "run", "lsd_x", "00ff");
  leave_refused_start(task);
  open_run(other);
  expect_error<UserError>([&] { claim_run_folder(folder / "run", "lsd_x", "00fe"); }, {"may still run"});
  commit_run_state(other, RunState::done, "no part to make");
  claim_run_folder(folder / "run", "lsd_x", "00fe");
  claim_run_folder(folder / "run", "lsd_x", "00fe");  // the next task of the same array
  EXPECT_EQ(open_mended(task).state(), RunState::fresh);
  EXPECT_EQ(open_mended(other).state(), RunState::fresh);  // what made it DONE is not there
  expect_error<UserError>([&] { claim_run_folder(folder / "run", "lsd_x", "00ff"); }, {"another run"});
}

TEST(RunDir, AnAttemptThatStillWritesKeepsItsPartialFiles) {
  const testing::TemporaryFolder folder;
  open_run(folder / "run");
  for (const auto* name : {"shard.h5.a0001.7f-3.partial", "config.cfg.7f-3.partial", "odd.a.7f-4.partial"})
    write_file_atomically(folder / "run" / name, std::string_view("x"));
  open_run(folder / "run");
  EXPECT_TRUE(fs::exists(folder / "run/shard.h5.a0001.7f-3.partial"));
  EXPECT_FALSE(fs::exists(folder / "run/config.cfg.7f-3.partial"));
  EXPECT_FALSE(fs::exists(folder / "run/odd.a.7f-4.partial"));
}

// As slurm/lib/stage.sh does before it starts a program.
TEST(RunDir, AWordPutAsideStillSaysThatTheStartHasEnded) {
  const testing::TemporaryFolder folder;
  leave_refused_start(folder / "run");
  fs::rename(folder / "run/FAILED", folder / "run/FAILED.partial");
  EXPECT_EQ(open_mended(folder / "run").state(), RunState::fresh);
  EXPECT_FALSE(fs::exists(folder / "run/FAILED.partial"));
}

TEST(RunDir, AttemptsWithoutAnEnvironmentAreOurs) {
  const testing::TemporaryFolder folder;
  fs::create_directories(folder / "run/attempts/0001");
  EXPECT_EQ(open_run(folder / "run").state(), RunState::fresh);
}

TEST(RunDir, FoldersThatCannotBeMadeSayWhatToDo) {
  const testing::TemporaryFolder folder;
  write_file_atomically(folder / "file", "x");
  expect_error<UserError>([&] { open_run(folder / "file/run"); },
                          {"file/run", "part of this path is a file", "choose"});
  expect_error<SystemError>([&] { open_run("/proc/nowhere"); }, {"/proc/nowhere", "choose a run folder where you may"});
}

TEST(RunDir, RefusesFilesThatNoRunMade) {
  const testing::TemporaryFolder folder;
  write_file_atomically(folder / "thesis.tex", "years of work");
  expect_error<UserError>([&] { open_run(folder.path()); }, {"thesis.tex"});
  expect_error<UserError>([&] { open_run(folder / "thesis.tex"); }, {"thesis.tex"});
  EXPECT_EQ(read_text_file(folder / "thesis.tex"), "years of work");
}

TEST(RunDir, RefusesADamagedEnvironment) {
  const testing::TemporaryFolder folder;
  write_file_atomically(folder / "environment.json", "{\"program\": ");
  expect_error<DataError>([&] { open_run(folder.path()); }, {"environment.json", "damaged"});
}

TEST(RunDir, ResumedMetricsDropLaterStepsAndATornLine) {
  const testing::TemporaryFolder folder;
  RunDir run = open_run(folder / "run");
  run.truncate_metrics_after(10);
  for (const auto* line : {"{\"step\":1}", "{\"step\":2,\"loss\":3}", "{\"step\":3}"}) run.append_metrics(line);
  const auto file = folder / "run/metrics.jsonl";
  write_file_atomically(file, read_text_file(file) + "{\"step\":4,\"lo");
  run.truncate_metrics_after(2);
  run.append_metrics("{\"step\":3,\"again\":true}");
  EXPECT_EQ(read_text_file(file), "{\"step\":1}\n{\"step\":2,\"loss\":3}\n{\"step\":3,\"again\":true}\n");
}

TEST(RunDir, MendedMetricsLoseATornLineOnly) {
  const testing::TemporaryFolder folder;
  RunDir run = open_run(folder / "run");
  run.mend_metrics();
  const auto file = folder / "run/metrics.jsonl";
  EXPECT_FALSE(std::filesystem::exists(file));
  for (const auto* line : {"{\"step\":7}", "{\"kind\":\"x\"}"}) run.append_metrics(line);
  const auto whole = read_text_file(file);
  run.mend_metrics();
  EXPECT_EQ(read_text_file(file), whole);
  write_file_atomically(file, whole + "{\"kind\":\"y");
  run.mend_metrics();
  run.append_metrics("{\"kind\":\"z\"}");
  EXPECT_EQ(read_text_file(file), whole + "{\"kind\":\"z\"}\n");
  write_file_atomically(file, "{\"torn");
  run.mend_metrics();
  EXPECT_EQ(read_text_file(file), "");
}

TEST(RunDir, DamagedMetricsAreNotSwallowed) {
  const testing::TemporaryFolder folder;
  RunDir run = open_run(folder / "run");
  write_file_atomically(folder / "run/metrics.jsonl", "{\"step\":1}\nrubbish\n{\"step\":2}\n");
  expect_error<DataError>([&] { run.truncate_metrics_after(5); }, {"metrics.jsonl:2"});
}

}  // namespace
}  // namespace lsd
