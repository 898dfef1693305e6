// SPDX-License-Identifier: Apache-2.0
// Two jobs on one run directory: the later one takes over, the older one ends without a trace.
#include <gmock/gmock.h>

#include "lsd/io/attempt.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "train/tiny_job.h"

namespace lsd::train {
namespace {

namespace fs = std::filesystem;
using testing::expect_error;
using testing::expect_same_end;
using testing::run;
using testing::TemporaryFolder;
using testing::TinyJob;

// Calls `body` in front of the first micro-batch of `step` (4 micro-batches each).
std::function<void(const data::HostBatch&, bool)> before_step(std::int64_t step, std::function<void()> body) {
  return [step, body, calls = std::int64_t{0}](const data::HostBatch&, bool validating) mutable {
    if (!validating && calls++ == 4 * (step - 1)) body();
  };
}

// Beside the attempts' own folders, where each goes on telling what it is at.
std::vector<std::string> names_under(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (const auto name = entry.path().string(); name.find("/attempts/") == std::string::npos) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

TEST(Takeover, TheOlderJobStopsAtItsNextCommitNamingTheNewer) {
  for (const int step : {2, 4, 6, 12}) {  // before a metrics line, before a checkpoint, between, before the end
    SCOPED_TRACE(step);
    const TemporaryFolder folder;
    EXPECT_TRUE(run({}, folder / "alone"));
    std::vector<std::string> left;
    TinyJob older;
    older.prepare = before_step(step, [&] {
      EXPECT_TRUE(run({}, folder / "both"));
      left = names_under(folder / "both");
    });
    expect_error<SystemError>([&] { run(older, folder / "both"); },
                              {"attempt 1 (host ", "superseded by attempt 2 (host ", "pid"});
    EXPECT_TRUE(fs::exists(folder / "both/DONE"));
    EXPECT_EQ(names_under(folder / "both"), left) << "the older one adds and removes nothing";
    expect_same_end(folder / "alone", folder / "both");
  }
}

TEST(Takeover, ASupersededJobLeavesNoStateFile) {
  const TemporaryFolder folder;
  TinyJob older{.stop_after = 3};
  older.change = [](TrainingJob& job) { job.training.log_every = 100; };
  older.prepare = before_step(2, [&] { io::Attempt::begin(folder / "run"); });
  expect_error<SystemError>([&] { run(older, folder / "run"); }, {"superseded"});
  for (const auto* state : {"DONE", "STOPPED", "FAILED"}) EXPECT_FALSE(fs::exists(folder / "run" / state)) << state;
}

TEST(Takeover, LeftoversOfADeadAttemptGoWhenTheNextOneBegins) {
  const TemporaryFolder folder;
  EXPECT_FALSE(run({.stop_after = 5}, folder / "run"));
  const auto dead = io::Attempt::join(folder / "run", 1).partial_path(folder / "run/checkpoints/checkpoint-00000007");
  fs::create_directory(dead);
  const auto alive = io::Attempt::join(folder / "run", 9).partial_path(folder / "run/checkpoints/checkpoint-00000007");
  fs::create_directory(alive);
  EXPECT_TRUE(run({}, folder / "run"));
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists(alive));
}

TEST(Takeover, AFinishedRunIsNotTakenOver) {
  const TemporaryFolder folder;
  EXPECT_TRUE(run({}, folder / "run"));
  EXPECT_TRUE(run({}, folder / "run"));
  EXPECT_EQ(io::newest_attempt(folder / "run").number, 1);
}

}  // namespace
}  // namespace lsd::train
