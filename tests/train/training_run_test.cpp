// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/training_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <fstream>
#include <nlohmann/json.hpp>

#include "lsd/core/atomic_file.h"
#include "lsd/core/run_dir.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "train/tiny_job.h"

namespace lsd::train {
namespace {

using testing::expect_error;
using testing::expect_same_end;
using testing::final_files;
using testing::metrics;
using testing::run;
using testing::TemporaryFolder;
using testing::TinyJob;

class ResumeTest : public ::testing::TestWithParam<std::tuple<std::string, int>> {};

TEST_P(ResumeTest, AStoppedRunEndsBitForBitLikeOneThatNeverStopped) {
  const auto& [variant, ranks] = GetParam();
  const TemporaryFolder folder;
  TinyJob setup{.variant = variant};
  EXPECT_TRUE(run(setup, folder / "whole", ranks));
  for (const int stop : {2, 5, 8}) {  // 2 and 8: between two metric lines
    setup.stop_after = stop;
    EXPECT_FALSE(run(setup, folder / "cut", ranks));
    EXPECT_TRUE(std::filesystem::exists(folder / "cut/STOPPED"));
  }
  setup.stop_after = 0;
  EXPECT_TRUE(run(setup, folder / "cut", ranks));
  EXPECT_TRUE(std::filesystem::exists(folder / "cut/DONE"));
  EXPECT_FALSE(std::filesystem::exists(folder / "cut/STOPPED"));
  expect_same_end(folder / "whole", folder / "cut");
}

INSTANTIATE_TEST_SUITE_P(Variants, ResumeTest,
                         ::testing::Combine(::testing::Values("nm", "tn", "mlm"), ::testing::Values(1, 2)));

TEST(TrainingRun, AKilledRunGoesOnFromItsLastCheckpoint) {
  const TemporaryFolder folder;
  TinyJob setup;
  EXPECT_TRUE(run(setup, folder / "whole"));
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    int calls = 0;
    setup.prepare = [&calls](const data::HostBatch&, bool validating) {
      if (!validating && ++calls == 4 * 9 + 2) ::raise(SIGKILL);  // within step 10: behind the metrics line of step 9
    };
    run(setup, folder / "killed");
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_FALSE(std::filesystem::exists(folder / "killed/DONE"));
  const auto step = io::open_checkpoint_at(folder / "killed").state.step;
  EXPECT_TRUE(step == 8 || step == 4) << step << ": that of step 8 may still have been on its way";
  EXPECT_TRUE(run(setup, folder / "killed"));
  expect_same_end(folder / "whole", folder / "killed");
}

TEST(TrainingRun, AFinishedRunIsLeftAlone) {
  const TemporaryFolder folder;
  TinyJob setup;
  EXPECT_TRUE(run(setup, folder / "run"));
  const auto before = final_files(folder / "run");
  setup.prepare = [](const data::HostBatch&, bool) { FAIL() << "nothing is trained again"; };
  EXPECT_TRUE(run(setup, folder / "run"));
  EXPECT_TRUE(final_files(folder / "run") == before);
}

TEST(TrainingRun, AFinishedRunThatLostItsCheckpointsIsNotTakenForDone) {
  const TemporaryFolder folder;
  const TinyJob setup{.steps = 4};
  EXPECT_TRUE(run(setup, folder / "run"));
  std::filesystem::remove_all(folder / "run/checkpoints");
  expect_error<DataError>([&] { run(setup, folder / "run", 2); },
                          {(folder / "run/DONE").string(), "holds no checkpoint", "restore that folder"});
  EXPECT_TRUE(std::filesystem::exists(folder / "run/DONE"));
}

TEST(TrainingRun, AStopSignalEndsItAtACheckpoint) {
  const TemporaryFolder folder;
  StopSignal stop;
  TinyJob setup{.stop = &stop};
  int calls = 0;
  setup.prepare = [&](const data::HostBatch&, bool validating) {
    if (!validating && ++calls == 4 * 6 + 1) stop.request();
  };
  EXPECT_FALSE(run(setup, folder / "run"));
  EXPECT_EQ(io::open_checkpoint_at(folder / "run").state.step, 7);
}

TEST(TrainingRun, AFolderOfAnotherRunIsRefused) {
  const TemporaryFolder folder;
  TinyJob setup{.steps = 4};
  EXPECT_TRUE(run(setup, folder / "run"));
  const auto before = final_files(folder / "run");
  setup.learning_rate = 1e-4;
  expect_error<UserError>([&] { run(setup, folder / "run", 2); }, {"another run"});
  EXPECT_TRUE(final_files(folder / "run") == before);
}

void flip_byte(const std::filesystem::path& file) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(-5, std::ios::end);
  const auto byte = static_cast<char>(stream.get() ^ 0x10);
  stream.seekp(-5, std::ios::end);
  stream.put(byte);
}

TEST(TrainingRun, ADamagedCheckpointGivesWayToTheOneBefore) {
  const TemporaryFolder folder;
  TinyJob setup;
  EXPECT_TRUE(run(setup, folder / "whole"));
  setup.stop_after = 9;
  EXPECT_FALSE(run(setup, folder / "run"));  // checkpoints of steps 8 and 9
  flip_byte(io::open_checkpoint_at(folder / "run").path / kOptimizerFile);
  setup.stop_after = 0;
  EXPECT_TRUE(run(setup, folder / "run"));
  expect_same_end(folder / "whole", folder / "run");
}

TEST(TrainingRun, InitFromTakesTheWeightsAndNothingElse) {
  const TemporaryFolder folder;
  TinyJob setup{.steps = 8};
  EXPECT_TRUE(run(setup, folder / "first"));
  TinyJob next{.steps = 4, .checkpoint_every = 1, .learning_rate = 0.0, .init_from = (folder / "first").string()};
  EXPECT_TRUE(run(next, folder / "second"));
  const auto first = io::open_checkpoint_at(folder / "first"), second = io::open_checkpoint_at(folder / "second");
  for (const auto& array : first.model().arrays()) {
    const auto& other = second.model().require(array.name, array.type, array.shape);
    EXPECT_TRUE(std::ranges::equal(array.bytes, other.bytes)) << array.name << " moved at learning rate 0";
  }
  EXPECT_EQ(second.state.step, 4);
  TinyJob other{.variant = "mlm", .steps = 4, .init_from = (folder / "first").string()};
  expect_error<DataError>([&] { run(other, folder / "third"); }, {"init_from"});
}

TEST(TrainingRun, ADiskTooSmallForItsCheckpointsIsRefusedOnEveryRank) {
  const TemporaryFolder folder;
  TinyJob setup;
  std::atomic<int> batches = 0;
  setup.prepare = [&](const data::HostBatch&, bool) { ++batches; };
  setup.change = [](TrainingJob& job) {
    job.checkpoint.keep_last = 1'000'000'000;
    job.checkpoint.every_steps = 1;
    job.training.steps = 2'000'000'000;
  };
  for (const int ranks : {1, 2})
    for (const auto& end : testing::run_all(setup, folder / "run", ranks)) {
      ASSERT_TRUE(end.failure);
      expect_error<SystemError>([&] { std::rethrow_exception(end.failure); },
                                {"not enough space", "1000000001 checkpoints", "keep_last = 1000000000", "needs",
                                 "are free", (folder / "run").string()});
    }
  EXPECT_EQ(batches, 0) << "told before the work";
  setup.prepare = {};
  setup.change = [](TrainingJob& job) {
    job.checkpoint.keep_last = 1'000'000'000;
    job.checkpoint.every_minutes = 60.0;
  };
  ::testing::internal::CaptureStderr();
  EXPECT_TRUE(run(setup, folder / "run")) << "this run makes but four";
  EXPECT_THAT(::testing::internal::GetCapturedStderr(), ::testing::HasSubstr("one every 60 minutes"));
}

TEST(TrainingRun, AnEmptyValidationSplitIsTold) {
  const TemporaryFolder folder;
  const auto log_of = [&](const std::string& name, const std::function<void(TrainingJob&)>& change) {
    TinyJob setup{.steps = 3};
    setup.change = change;
    ::testing::internal::CaptureStderr();
    EXPECT_TRUE(run(setup, folder / name));
    return ::testing::internal::GetCapturedStderr();
  };
  const auto empty = [](TrainingJob& job) { job.valid = data::make_memory_source({}); };
  const auto text = log_of("empty", empty);
  EXPECT_NE(text.find("the validation split holds no sequences"), std::string::npos) << text;
  EXPECT_NE(text.find("split.valid"), std::string::npos) << text;
  EXPECT_EQ(log_of("full", [](TrainingJob&) {}), "");
  EXPECT_EQ(log_of("wanted",
                   [&](TrainingJob& job) {
                     empty(job);
                     job.validation.every_steps = 0;
                   }),
            "");
}

TEST(TrainingRun, RefusesMoreRanksThanMicroBatches) {
  const TemporaryFolder folder;
  expect_error<UserError>([&] { run({}, folder / "run", 5); }, {"5 ranks", "micro_batches = 4"});
}

TEST(TrainingRun, ValidationDrawsAreTheSameEveryTimeAndForAnyRanks) {
  const TemporaryFolder folder;
  TinyJob setup{.steps = 10, .learning_rate = 0.0};
  EXPECT_TRUE(run(setup, folder / "one"));
  EXPECT_TRUE(run(setup, folder / "two", 2));
  std::vector<nlohmann::json> lines;
  for (const auto& name : {"one", "two"})
    for (const auto& line : metrics(folder / name))
      if (auto record = nlohmann::json::parse(line); record["kind"] == "validation") lines.push_back(record);
  ASSERT_EQ(lines.size(), 4U);  // steps 5 and 10, each
  for (const auto& [key, value] : lines[0].items()) {
    if (!value.is_number_float()) continue;
    for (const auto& line : lines) EXPECT_NEAR(line[key].get<double>(), value.get<double>(), 1e-6) << key;
  }
  EXPECT_TRUE(lines[0].contains("accuracy@0.5"));
}

}  // namespace
}  // namespace lsd::train
