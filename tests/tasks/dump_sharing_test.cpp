// SPDX-License-Identifier: Apache-2.0
// Dumps that several jobs fill, that die at any point, that are damaged, and whose disk is full: every record ends up
// in the set once, in order, with the bytes that an undisturbed job writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "lsd/core/fault_point.h"
#include "lsd/io/attempt.h"
#include "lsd/io/embedding_reader.h"
#include "lsd/io/embedding_writer.h"
#include "lsd/tasks/dump_latents.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "tiny_models.h"

namespace fs = std::filesystem;

namespace lsd::tasks {
namespace {

using lsd::testing::expect_error;
using lsd::testing::run_on_ranks;

class DumpSharingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    testing::write_tiny_autoencoder(folder_ / "nm");
    testing::write_fasta(folder_ / "p.fasta", {30, 7, 55, 1, 90, 64, 12, 700, 33, 20, 41, 3});
  }

  DumpLatentsConfig config(const std::string& name, std::int64_t task = 0, std::int64_t tasks = 1) const {
    DumpLatentsConfig config;
    config.features.autoencoder = (folder_ / "nm").string();
    config.features.capacity = 128;
    config.features.max_sequences = 4;
    config.input.fasta = (folder_ / "p.fasta").string();
    config.output = {.directory = (folder_ / name).string(),
                     .mode = "residues",
                     .element = "float32",
                     .tokens_per_part = 150,
                     .task_index = task,
                     .task_count = tasks};
    return config;
  }

  static void dump(const DumpLatentsConfig& config, int ranks = 1) {
    EXPECT_EQ(run_on_ranks(ranks, [&](Runtime& runtime) { return dump_latents(config, runtime); }), Outcome::done);
  }

  // In a process of its own, which a fault may kill. Gives the signal that ended it, or 0 and its exit code 0.
  static int dump_in_child(const DumpLatentsConfig& config, int ranks, const std::string& fault) {
    const pid_t child = ::fork();
    if (child == 0) {
      arm_faults(fault, 0);
      try {
        run_on_ranks(ranks, [&](Runtime& runtime) { return dump_latents(config, runtime); });
        ::_exit(0);
      } catch (const std::exception& error) {
        std::fputs(error.what(), stderr);
        ::_exit(1);
      }
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    if (WIFSIGNALED(status)) return WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 0);
    return 0;
  }

  // Parts and manifest.
  std::map<std::string, std::string> bytes_of(const std::string& name) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(folder_ / name)) {
      const auto file = entry.path().filename().string();
      if (file.ends_with(".h5") || file == "manifest.json") files[file] = read_text_file(entry.path());
    }
    return files;
  }

  void expect_nothing_left_over(const std::string& name) const {
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / name))
      EXPECT_FALSE(entry.path().filename().string().ends_with(".partial")) << entry.path();
    EXPECT_TRUE(fs::exists(folder_ / name / "DONE"));
  }

  void flip_in_rows(const std::string& part) const {
    std::string bytes = read_text_file(folder_ / part);
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 16);
    std::ofstream(folder_ / part, std::ios::binary) << bytes;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(DumpSharingTest, KilledAtAnyPointTheNextRunFillsTheGapsOnly) {
  ASSERT_EQ(dump_in_child(config("whole"), 1, ""), 0);
  const auto whole = bytes_of("whole");
  ASSERT_EQ(whole.size(), 6U);
  for (const int ranks : {1, 2, 4}) {
    for (const auto* point :
         {"run.folder_opened", "dump.begun", "dump.part_begun#2", "dump.part_rows_written#3", "dump.part_closed#2",
          "file.synced#5", "file.linked#2", "dump.part_committed#3", "dump.all_committed", "dump.manifest_written"}) {
      SCOPED_TRACE(fmt::format("{} ranks, {}", ranks, point));
      const auto name = fmt::format("out{}", ranks);
      ASSERT_EQ(dump_in_child(config(name), ranks, std::string(point) + "=kill"), SIGKILL);
      std::map<std::string, fs::file_time_type> kept;
      for (const auto& [file, bytes] : bytes_of(name)) {
        if (file.ends_with(".h5")) kept[file] = fs::last_write_time(folder_ / name / file);
      }
      ASSERT_EQ(dump_in_child(config(name), ranks, ""), 0);
      EXPECT_EQ(bytes_of(name), whole);
      for (const auto& [file, time] : kept) EXPECT_EQ(fs::last_write_time(folder_ / name / file), time) << file;
      expect_nothing_left_over(name);
      fs::remove_all(folder_ / name);
    }
  }
}

TEST_F(DumpSharingTest, TasksOfAnArrayFillOneDumpAtTheSameTime) {
  dump(config("whole"));
  for (const int ranks : {1, 2}) {
    const auto name = fmt::format("out{}", ranks);
    std::vector<std::thread> tasks;
    for (int task = 0; task < 3; ++task) tasks.emplace_back([&, task] { dump(config(name, task, 3), ranks); });
    for (auto& task : tasks) task.join();
    EXPECT_EQ(bytes_of(name), bytes_of("whole"));
    expect_nothing_left_over(name);
    for (int task = 0; task < 3; ++task)
      EXPECT_TRUE(fs::exists(folder_ / name / "tasks" / fmt::format("000{}-of-0003", task) / "DONE"));
  }
}

TEST_F(DumpSharingTest, EveryTaskMakesItsShareAndTheLastOneTheManifest) {
  dump(config("whole"));
  dump(config("out", 2, 3));
  EXPECT_FALSE(io::has_embedding_manifest(folder_ / "out"));
  const auto share = bytes_of("out").size();
  EXPECT_TRUE(share >= 1 && share < 5) << share;
  dump(config("out", 0, 3), 2);
  EXPECT_FALSE(io::has_embedding_manifest(folder_ / "out"));
  dump(config("out", 1, 3));
  EXPECT_EQ(bytes_of("out"), bytes_of("whole"));
}

TEST_F(DumpSharingTest, AJobOfItsOwnFillsWhatALostTaskLeft) {
  dump(config("whole"));
  dump(config("out", 0, 3));
  EXPECT_EQ(dump_in_child(config("out", 1, 3), 1, "dump.part_rows_written=kill"), SIGKILL);
  dump(config("out"), 2);
  EXPECT_EQ(bytes_of("out"), bytes_of("whole"));
  expect_nothing_left_over("out");
}

TEST_F(DumpSharingTest, AnotherDumpIsRefusedByEveryTask) {
  dump(config("out", 0, 2));
  auto other = config("out", 1, 2);
  other.features.capacity = 256;
  expect_error<UserError>([&] { dump(other); }, {(folder_ / "out").string(), "another run"});
  fs::create_directory(folder_ / "foreign");
  std::ofstream(folder_ / "foreign/thesis.txt") << "x";
  expect_error<UserError>([&] { dump(config("foreign", 0, 2)); }, {"thesis.txt"});
  const DumpOutputConfig beyond{.directory = "d", .task_index = 2, .task_count = 2};
  expect_error<UserError>([&] { beyond.validate(); }, {"output.task_index", "0 to 1"});
}

TEST_F(DumpSharingTest, OfTwoJobsAtOnceOneEndsTheDump) {
  dump(config("whole"));
  int succeeded = 0;
  std::mutex mutex;
  std::vector<std::thread> jobs;
  for (int job = 0; job < 2; ++job) {
    jobs.emplace_back([&] {
      try {
        run_on_ranks(1, [&](Runtime& runtime) { return dump_latents(config("out"), runtime); });
        const std::lock_guard lock(mutex);
        ++succeeded;
      } catch (const SystemError&) {  // superseded by the other
      }
    });
  }
  for (auto& job : jobs) job.join();
  EXPECT_GE(succeeded, 1);
  EXPECT_EQ(bytes_of("out"), bytes_of("whole"));
}

TEST_F(DumpSharingTest, AStaleAttemptThatComesBackCannotCommit) {
  const auto out = folder_ / "out";
  run_on_ranks(
      1, [&](Runtime& runtime) { return dump_latents(config("out"), runtime); }, /*stop_at_once=*/true);
  const auto stale = io::Attempt::join(out, 1);
  const std::vector<float> row(4, 1.0F);
  io::EmbeddingWriter writer(
      out, {.kind = io::EmbeddingKind::means, .width = 4},
      {.index = 1, .count = 5, .offsets = {0, 3}, .ids = {"a"}, .residues = 1},
      {.partial = stale.folder() / "x.partial", .before_commit = [&] { stale.check_current(); }});
  writer.append(std::as_bytes(std::span(row)));
  dump(config("out"));
  const auto bytes = bytes_of("out");
  const io::EmbeddingMoments none{.mean = std::vector<double>(4), .squared_deviations = std::vector<double>(4)};
  expect_error<SystemError>([&] { writer.finish(none, 0); }, {"attempt 1", "superseded by attempt 2"});
  EXPECT_EQ(bytes_of("out"), bytes);
}

// Without any attempt's check: the name is taken, so the late writer's file is dropped.
TEST_F(DumpSharingTest, ALateWriterOfAPartChangesNothing) {
  dump(config("out"));
  const auto part = folder_ / "out/part-00001-of-00005.h5";
  const auto bytes = read_text_file(part);
  const std::vector<float> row(4, 1.0F);
  io::EmbeddingWriter writer(folder_ / "out", {.kind = io::EmbeddingKind::means, .width = 4},
                             {.index = 1, .count = 5, .offsets = {0, 3}, .ids = {"a"}, .residues = 1});
  writer.append(std::as_bytes(std::span(row)));
  writer.finish({.mean = std::vector<double>(4), .squared_deviations = std::vector<double>(4)}, 0);
  EXPECT_FALSE(writer.committed());
  EXPECT_EQ(read_text_file(part), bytes);
  expect_nothing_left_over("out");
}

TEST_F(DumpSharingTest, ADamagedPartOfAnUnfinishedDumpIsMadeAgain) {
  dump(config("out"));
  const auto whole = bytes_of("out");
  fs::remove(folder_ / "out/manifest.json");
  flip_in_rows("out/part-00003-of-00005.h5");
  const auto other = folder_ / "out/part-00002-of-00005.h5";
  const auto time = fs::last_write_time(other);
  dump(config("out"), 2);
  EXPECT_EQ(bytes_of("out"), whole);
  EXPECT_EQ(fs::last_write_time(other), time);
}

TEST_F(DumpSharingTest, ADamagedPartOfAFinishedDumpIsMadeAgainWhenItIsAskedFor) {
  dump(config("out"));
  const auto whole = bytes_of("out");
  flip_in_rows("out/part-00003-of-00005.h5");
  dump(config("out"));
  EXPECT_NE(bytes_of("out"), whole);  // a finished dump is believed
  auto checked = config("out");
  checked.output.check = "always";
  dump(checked, 2);
  EXPECT_EQ(bytes_of("out"), whole);
}

TEST_F(DumpSharingTest, TheManifestCountsWhatTheSourceHolds) {
  dump(config("out"), 2);
  const auto json = nlohmann::json::parse(read_text_file(folder_ / "out/manifest.json"));
  EXPECT_EQ(json["source"]["records"], 12);
  EXPECT_EQ(json["source"]["residues"], 1056);
  EXPECT_EQ(json["records"], 12);
  const io::EmbeddingReader reader(folder_ / "out");
  for (std::int64_t record = 0; record < reader.size(); ++record)
    EXPECT_EQ(reader.id(record), fmt::format("p{}", record));
}

// A file system of this size under the folder, seen by this process alone. False where that is not allowed.
bool mount_small_disk(const fs::path& folder, const char* size) {
  if (::unshare(CLONE_NEWNS) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
  return ::mount("tmpfs", folder.c_str(), "tmpfs", 0, size) == 0;
}

enum SpaceResult { kAccepted = 0, kRefused = 2, kOther = 3, kNotAllowed = 4 };

SpaceResult dump_on_small_disk(const DumpLatentsConfig& config, const char* size) {
  fs::create_directory(config.output.directory);
  const pid_t child = ::fork();
  if (child == 0) {
    if (!mount_small_disk(config.output.directory, size)) ::_exit(kNotAllowed);
    try {
      run_on_ranks(2, [&](Runtime& runtime) { return dump_latents(config, runtime); });
      ::_exit(kAccepted);
    } catch (const SystemError& error) {
      const bool told = error.message().find("not enough space for the latents") != std::string::npos;
      bool parts = false;
      for (const auto& entry : fs::directory_iterator(config.output.directory))
        parts |= entry.path().extension() == ".h5";
      ::_exit(told && !parts ? kRefused : kOther);
    } catch (...) {
      ::_exit(kOther);
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? static_cast<SpaceResult>(WEXITSTATUS(status)) : kOther;
}

// 64 MiB stay free on every disk; the dump itself takes about 0.1 MiB.
TEST_F(DumpSharingTest, ADumpThatDoesNotFitIsRefusedBeforeItBegins) {
  const auto refused = dump_on_small_disk(config("small"), "size=64m");
  if (refused == kNotAllowed) GTEST_SKIP() << "this user may not mount a file system of its own";
  EXPECT_EQ(refused, kRefused);
  EXPECT_EQ(dump_on_small_disk(config("large"), "size=66m"), kAccepted);
}

TEST_F(DumpSharingTest, AFullDiskLeavesWhatIsFinished) {
  dump(config("whole"));
  arm_faults("dump.part_rows_written#4=enospc", 0);
  expect_error<SystemError>([&] { dump(config("out")); }, {"No space left"});
  arm_faults("", 0);
  EXPECT_EQ(bytes_of("out").size(), 3U);  // one batch per part
  dump(config("out"));
  EXPECT_EQ(bytes_of("out"), bytes_of("whole"));
  expect_nothing_left_over("out");
}

}  // namespace
}  // namespace lsd::tasks
