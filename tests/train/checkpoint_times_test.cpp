// SPDX-License-Identifier: Apache-2.0
// When a run makes checkpoints, which it keeps, and what goes on meanwhile.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include "lsd/core/fault_point.h"
#include "support/temporary_folder.h"
#include "train/tiny_job.h"

namespace lsd::train {
namespace {

using testing::expect_same_end;
using testing::run;
using testing::TemporaryFolder;
using testing::TinyJob;

int count_checkpoints(const std::filesystem::path& folder) {
  int found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "checkpoints")) found += entry.is_directory();
  return found;
}

TEST(CheckpointTimes, KeepsTheLastCheckpointsOnly) {
  const TemporaryFolder folder;
  EXPECT_TRUE(run({.checkpoint_every = 1}, folder / "run"));
  EXPECT_EQ(count_checkpoints(folder / "run"), 2);
}

// Of no time at all: behind every step. A run that keeps them is the run that makes none but the last.
TEST(CheckpointTimes, MinutesMakeCheckpointsToo) {
  const TemporaryFolder folder;
  for (const int ranks : {1, 2}) {
    for (const double minutes : {1e-9, 1e6}) {
      TinyJob setup;
      setup.change = [&](TrainingJob& job) {
        job.checkpoint = {.every_steps = 0, .every_minutes = minutes, .keep_last = 100};
        job.checkpoint.in_background = false;
      };
      const auto name = fmt::format("{} {}", ranks, minutes);
      EXPECT_TRUE(run(setup, folder / name, ranks));
      EXPECT_EQ(count_checkpoints(folder / name), minutes < 1 ? 12 : 1) << name;
    }
    expect_same_end(folder / fmt::format("{} {}", ranks, 1e-9), folder / fmt::format("{} {}", ranks, 1e6));
  }
}

// The writer of step 4's checkpoint stands still: the steps up to the next one go on all the same.
TEST(CheckpointTimes, GoesOnWhileACheckpointIsWritten) {
  const TemporaryFolder folder;
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    arm_faults("checkpoint.begun=stall", 0);
    TinyJob setup;
    setup.change = [](TrainingJob& job) { job.training.log_every = 1; };
    run(setup, folder / "run");
    ::_exit(1);
  }
  const auto come_to_step_7 = [&] {
    std::ifstream file(folder / "run/metrics.jsonl");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    return text.find("\"step\":7,") != std::string::npos;
  };
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(100);
  while (!come_to_step_7() && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_TRUE(come_to_step_7());
  EXPECT_FALSE(std::filesystem::exists(folder / "run/checkpoints/latest"));
  ::kill(child, SIGKILL);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status)) << "it still waited for the writer";
}

}  // namespace
}  // namespace lsd::train
