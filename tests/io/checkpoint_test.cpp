// SPDX-License-Identifier: Apache-2.0
#include "lsd/io/checkpoint.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "lsd/core/atomic_file.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lsd::io {
namespace {

namespace fs = std::filesystem;
using lsd::testing::expect_error;
using lsd::testing::TemporaryFolder;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

CheckpointState state_of(std::int64_t step) {
  return {.step = step,
          .next_visit = 100 * step,
          .skipped_visits = {3, 9},
          .config = {{"model.variant", "nm"}, {"optimizer.learning_rate", "0.0004"}},
          .config_text = "[model]\nvariant = nm\n",
          .fingerprints = {{"data", "f00"}},
          .versions = {{"program", "0.1.0"}},
          .extra_json = R"({"losses":[0.1,1e-30]})"};
}

// Every value of the arrays is the step, so a mixture of two checkpoints would show.
fs::path write_checkpoint(CheckpointWriter& writer, std::int64_t step, std::size_t values = 6) {
  const std::vector<float> gain(values, static_cast<float>(step));
  const std::vector<float> moments(2 * values, static_cast<float>(step));
  const auto columns = static_cast<std::int64_t>(values / 2);
  writer.begin(step);
  writer.write("model.safetensors", {named_floats("encoder.norm.gain", {2, columns}, gain),
                                     named_floats("encoder.norm.bias", {2, columns}, gain)});
  writer.write("optimizer.safetensors", {named_floats("moment1", {4, columns}, moments)});
  return writer.commit(state_of(step));
}

void expect_whole(const Checkpoint& checkpoint, std::int64_t step) {
  EXPECT_EQ(checkpoint.state.step, step);
  EXPECT_EQ(checkpoint.state.next_visit, 100 * step);
  EXPECT_THAT(checkpoint.model().find("encoder.norm.gain")->as<float>(), Each(static_cast<float>(step)));
  EXPECT_THAT(checkpoint.optimizer().find("moment1")->as<float>(), Each(static_cast<float>(step)));
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// In place: rewriting whole files would make thousands of flips slow.
void flip_bit(const fs::path& path, std::size_t bit) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(static_cast<std::streamoff>(bit / 8));
  const auto flipped = static_cast<char>(file.get() ^ (1 << (bit % 8)));
  file.seekp(static_cast<std::streamoff>(bit / 8));
  file.put(flipped);
}

TEST(Checkpoints, ComeBackWhole) {
  const TemporaryFolder folder;
  const auto checkpoints = folder / "checkpoints";
  EXPECT_FALSE(has_checkpoint(checkpoints));
  EXPECT_FALSE(open_latest_checkpoint(checkpoints, OnDamage::refuse).has_value());
  CheckpointWriter writer(checkpoints, 2);
  EXPECT_EQ(write_checkpoint(writer, 7), checkpoints / "checkpoint-00000007");
  EXPECT_TRUE(has_checkpoint(checkpoints));

  const auto checkpoint = open_latest_checkpoint(checkpoints, OnDamage::refuse);
  expect_whole(*checkpoint, 7);
  const auto expected = state_of(7);
  EXPECT_EQ(checkpoint->state.skipped_visits, expected.skipped_visits);
  EXPECT_EQ(checkpoint->state.config, expected.config);
  EXPECT_EQ(checkpoint->state.config_text, expected.config_text);
  EXPECT_EQ(checkpoint->state.fingerprints, expected.fingerprints);
  EXPECT_EQ(checkpoint->state.versions, expected.versions);
  EXPECT_EQ(checkpoint->state.extra_json, expected.extra_json);
  expect_whole(open_checkpoint_at(checkpoints / "checkpoint-00000007"), 7);
  expect_whole(open_checkpoint_at(checkpoints), 7);
  expect_whole(open_checkpoint_at(folder.path()), 7);
  expect_error<UserError>([&] { open_checkpoint_at(folder / "nothing"); }, {"holds no checkpoint"});
}

TEST(Checkpoints, TakeConfigsThatAreNoUtf8) {
  const TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), 1);
  writer.begin(1);
  auto state = state_of(1);
  state.config_text = "path = /data/\xE9t\xE9\n";  // Latin-1
  writer.commit(state);
  EXPECT_THAT(open_latest_checkpoint(folder.path(), OnDamage::refuse)->state.config_text, HasSubstr("path = /data/"));
}

TEST(Checkpoints, OnlyTheLastAreKept) {
  const TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), 2);
  for (const std::int64_t step : {5, 10, 15, 20}) write_checkpoint(writer, step);
  EXPECT_THAT(names_in(folder.path()), ElementsAre("checkpoint-00000015", "checkpoint-00000020", "latest"));
  EXPECT_EQ(read_text_file(folder / "latest"), "checkpoint-00000020\n");
}

TEST(Checkpoints, ANewCourseNeitherCountsNorRemovesLaterSteps) {
  const TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), 1);
  write_checkpoint(writer, 30);
  write_checkpoint(writer, 20);  // the run went back
  EXPECT_THAT(names_in(folder.path()), ElementsAre("checkpoint-00000020", "checkpoint-00000030", "latest"));
  expect_whole(*open_latest_checkpoint(folder.path(), OnDamage::refuse), 20);
  write_checkpoint(writer, 30);  // takes the old one's place
  EXPECT_THAT(names_in(folder.path()), ElementsAre("checkpoint-00000030", "latest"));
  expect_whole(*open_latest_checkpoint(folder.path(), OnDamage::refuse), 30);
}

TEST(Checkpoints, LeftoversOfDeadAttemptsGo) {
  const TemporaryFolder folder;
  {
    CheckpointWriter writer(folder.path(), 2);
    write_checkpoint(writer, 1);
    std::ofstream(writer.begin(2) / "model.safetensors") << "half";
  }
  EXPECT_EQ(names_in(folder.path()).size(), 3U);
  expect_whole(*open_latest_checkpoint(folder.path(), OnDamage::refuse), 1);
  CheckpointWriter again(folder.path(), 2);
  EXPECT_THAT(names_in(folder.path()), ElementsAre("checkpoint-00000001", "latest"));
}

TEST(Checkpoints, FilesOfOtherRanksAreListedAndChecked) {
  const TemporaryFolder folder;
  const std::vector<float> values(4, 1.0F);
  CheckpointWriter writer(folder.path(), 2);
  const auto& aside = writer.begin(3);
  writer.add_file(write_safetensors(aside / "optimizer-1-of-2.safetensors", {named_floats("moment1", {4}, values)}));
  const auto path = writer.commit(state_of(3));
  EXPECT_NE(open_checkpoint(path).file("optimizer-1-of-2.safetensors").find("moment1"), nullptr);
  expect_error<DataError>([&] { open_checkpoint(path).model(); }, {"holds no file model.safetensors"});
  writer.begin(4);
  writer.add_file({"optimizer-2-of-2.safetensors", 100, 0});
  expect_error<SystemError>([&] { writer.commit(state_of(4)); }, {"optimizer-2-of-2.safetensors is not there"});
  EXPECT_EQ(open_latest_checkpoint(folder.path(), OnDamage::refuse)->state.step, 3);
}

TEST(DamagedCheckpoints, EveryFlippedBitIsFound) {
  const TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), 2);
  const auto path = write_checkpoint(writer, 7);
  for (const char* name : {"state.json", "model.safetensors", "optimizer.safetensors"}) {
    const auto bits = fs::file_size(path / name) * 8;
    for (std::size_t bit = 0; bit < bits; bit += 5) {
      flip_bit(path / name, bit);
      EXPECT_THROW(open_checkpoint(path), DataError) << name << " bit " << bit;
      flip_bit(path / name, bit);
    }
  }
  expect_whole(open_checkpoint(path), 7);
}

TEST(DamagedCheckpoints, TruncatedAndMissingFilesAreNamed) {
  const TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), 2);
  for (const char* name : {"state.json", "model.safetensors", "optimizer.safetensors"}) {
    auto path = write_checkpoint(writer, 7);
    fs::resize_file(path / name, fs::file_size(path / name) / 2);
    expect_error<DataError>([&] { open_checkpoint(path); }, {name, "damaged"});
    path = write_checkpoint(writer, 7);
    fs::remove(path / name);
    expect_error<DataError>([&] { open_checkpoint(path); }, {name});
  }
  expect_error<DataError>([&] { open_checkpoint(folder / "checkpoint-00000009"); }, {"no checkpoint folder"});
}

TEST(DamagedCheckpoints, AreRefusedOrPassedOver) {
  const TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), 3);
  for (const std::int64_t step : {1, 2, 3}) write_checkpoint(writer, step);
  flip_bit(folder / "checkpoint-00000003" / "model.safetensors", 2000);
  expect_error<DataError>([&] { open_latest_checkpoint(folder.path(), OnDamage::refuse); },
                          {"checkpoint-00000003/model.safetensors is damaged",
                           "newest good one instead: " + (folder / "checkpoint-00000002").string()});
  fs::remove(folder / "latest");
  expect_error<DataError>([&] { open_latest_checkpoint(folder.path(), OnDamage::refuse); },
                          {"latest is missing", "instead: " + (folder / "checkpoint-00000002").string()});
  write_file_atomically(folder / "latest", "checkpoint-00000003\n");
  std::vector<std::string> reports;
  expect_whole(*open_latest_checkpoint(folder.path(), OnDamage::fall_back, &reports), 2);
  EXPECT_THAT(reports, ElementsAre(HasSubstr("checkpoint-00000003/model.safetensors is damaged")));

  fs::remove_all(folder / "checkpoint-00000002");
  flip_bit(folder / "checkpoint-00000001" / "state.json", 2000);
  expect_error<DataError>([&] { open_latest_checkpoint(folder.path(), OnDamage::fall_back); },
                          {"no checkpoint", "is good"});
}

TEST(DamagedCheckpoints, AMissingLatestIsNoticed) {
  const TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), 3);
  for (const std::int64_t step : {1, 2}) write_checkpoint(writer, step);
  for (const char* text : {"", "checkpoint-\n", "nonsense\n"}) {
    std::ofstream(folder / "latest", std::ios::binary) << text;
    expect_error<DataError>([&] { open_latest_checkpoint(folder.path(), OnDamage::refuse); }, {"latest"});
    std::vector<std::string> reports;
    expect_whole(*open_latest_checkpoint(folder.path(), OnDamage::fall_back, &reports), 2);
    EXPECT_EQ(reports.size(), 1U);
  }
}

TEST(OtherCheckpoints, OfAnotherVersionAreRefused) {
  const TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), 3);
  const auto path = write_checkpoint(writer, 1);
  auto text = read_text_file(path / "state.json");
  const auto at = text.find("\"version\": 1");
  ASSERT_NE(at, std::string::npos);
  text[at + 11] = '2';
  text.replace(17, 16, 16, '0');
  text.replace(17, 16, checksum_hex(checksum64(text)));
  std::ofstream(path / "state.json", std::ios::binary) << text;
  expect_error<DataError>([&] { open_checkpoint(path); }, {"version 2", "reads version 1"});
}

TEST(OtherCheckpoints, OfAnotherConfigAreRefusedByTheKeysThatDiffer) {
  const TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), 3);
  write_checkpoint(writer, 1);
  const auto checkpoint = *open_latest_checkpoint(folder.path(), OnDamage::refuse);
  require_same_config(checkpoint, state_of(1).config);
  expect_error<UserError>(
      [&] {
        require_same_config(checkpoint,
                            {{"model.variant", "tn"}, {"optimizer.learning_rate", "0.0004"}, {"seed", "2"}});
      },
      {"model.variant: nm in the checkpoint, tn now", "seed: (absent) in the checkpoint, 2 now"});
  try {
    require_same_config(checkpoint, {{"model.variant", "tn"}, {"optimizer.learning_rate", "0.0004"}});
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), ::testing::Not(HasSubstr("learning_rate")));
  }
}

// A child writes one checkpoint after the other and tells each one committed; it is killed at a random moment. What is
// found afterwards is whole, and not older than the last one told.
TEST(KilledWriters, LeaveTheLastCommittedCheckpointInForce) {
  const TemporaryFolder folder;
  std::int64_t told = 0;
  std::srand(1);
  for (int round = 0; round < 40; ++round) {
    int pipe_ends[2];
    ASSERT_EQ(::pipe(pipe_ends), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      CheckpointWriter writer(folder.path(), 1 + round % 3);
      for (std::int64_t step = told + 1;; ++step) {
        write_checkpoint(writer, step, 20000);
        if (::write(pipe_ends[1], &step, sizeof(step)) != sizeof(step)) ::_exit(1);
      }
    }
    ::close(pipe_ends[1]);
    std::int64_t step = 0;
    if (round == 0) {
      ASSERT_EQ(::read(pipe_ends[0], &step, sizeof(step)), static_cast<ssize_t>(sizeof(step)));
    }
    told = std::max(told, step);
    ::usleep(static_cast<useconds_t>(std::rand() % 30000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    while (::read(pipe_ends[0], &step, sizeof(step)) == static_cast<ssize_t>(sizeof(step))) told = step;
    ::close(pipe_ends[0]);

    const auto checkpoint = open_latest_checkpoint(folder.path(), OnDamage::refuse);
    ASSERT_TRUE(checkpoint.has_value());
    EXPECT_GE(checkpoint->state.step, told);
    EXPECT_LE(checkpoint->state.step, told + 1);
    expect_whole(*checkpoint, checkpoint->state.step);
    told = checkpoint->state.step;
  }
  CheckpointWriter writer(folder.path(), 3);
  for (const auto& name : names_in(folder.path())) EXPECT_THAT(name, ::testing::Not(HasSubstr("partial")));
}

// A disk that fills up, by a limit on file sizes in a child process.
TEST(FailedWriters, LeaveTheLastCheckpointInForce) {
  const TemporaryFolder folder;
  {
    CheckpointWriter writer(folder.path(), 1);
    write_checkpoint(writer, 1);
  }
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{50000, 50000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    CheckpointWriter writer(folder.path(), 1);
    try {
      write_checkpoint(writer, 2, 20000);
    } catch (const SystemError& error) {
      const bool named = std::string(error.what()).find("cannot write") != std::string::npos;
      write_checkpoint(writer, 3);  // the writer can be used again
      ::_exit(named ? 0 : 2);
    }
    ::_exit(1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  expect_whole(*open_latest_checkpoint(folder.path(), OnDamage::refuse), 3);
  EXPECT_THAT(names_in(folder.path()), ElementsAre("checkpoint-00000003", "latest"));
}

std::vector<std::int64_t> steps_kept(const fs::path& folder) {
  return checkpoint_steps(folder);
}

TEST(CheckpointPolicy, MilestonesStayBesideTheNewest) {
  const TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), {.keep_last = 2, .milestone_steps = 4});
  for (std::int64_t step = 1; step <= 11; ++step) write_checkpoint(writer, step);
  EXPECT_THAT(steps_kept(folder.path()), ElementsAre(4, 8, 10, 11));
  expect_whole(open_checkpoint_at(folder / "checkpoint-00000004"), 4);
}

TEST(CheckpointPolicy, OneBeforeAWantedStepStays) {
  const TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), 1);
  for (const std::int64_t step : {1, 2}) write_checkpoint(writer, step);
  writer.keep_one_before(4);
  for (const std::int64_t step : {3, 5, 6}) write_checkpoint(writer, step);
  EXPECT_THAT(steps_kept(folder.path()), ElementsAre(3, 6));
  writer.keep_one_before(std::nullopt);
  write_checkpoint(writer, 7);
  EXPECT_THAT(steps_kept(folder.path()), ElementsAre(7));
}

TEST(CheckpointPolicy, StepsOfACourseThatWasLeftAreRemovedOnRequest) {
  const TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), 5);
  for (const std::int64_t step : {1, 2, 3}) write_checkpoint(writer, step);
  write_checkpoint(writer, 2);
  writer.remove_after(2);
  EXPECT_THAT(steps_kept(folder.path()), ElementsAre(1, 2));
  expect_whole(*open_latest_checkpoint(folder.path(), OnDamage::refuse), 2);
}

TEST(CheckpointPolicy, SpaceIsAskedForBeforeAnythingIsWritten) {
  const TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), 1);
  write_checkpoint(writer, 1);
  const auto before = names_in(folder.path());
  expect_error<SystemError>([&] { writer.begin(2, std::uint64_t{1} << 60U); },
                            {"not enough space for the checkpoint of step 2", "1.0 EiB", "free"});
  EXPECT_EQ(names_in(folder.path()), before);
  write_checkpoint(writer, 2);
}

TEST(SupersededWriters, ChangeNothing) {
  const TemporaryFolder folder;
  CheckpointWriter older(folder / "c", {.keep_last = 1}, Attempt::begin(folder.path()));
  write_checkpoint(older, 1);
  older.begin(2);
  CheckpointWriter newer(folder / "c", {.keep_last = 1}, Attempt::begin(folder.path()));
  write_checkpoint(newer, 1);
  const auto before = names_in(folder / "c");
  expect_error<SystemError>([&] { older.commit(state_of(2)); }, {"superseded by attempt 2"});
  expect_error<SystemError>([&] { write_checkpoint(older, 3); }, {"superseded by attempt 2"});
  EXPECT_EQ(names_in(folder / "c"), before);
  expect_whole(*open_latest_checkpoint(folder / "c", OnDamage::refuse), 1);
}

TEST(Checkpoints, PythonReadsThem) {
  const TemporaryFolder folder;
  CheckpointWriter writer(folder.path(), 2);
  write_checkpoint(writer, 7);
  const auto script = fs::path(LSD_TESTS_FOLDER) / "io" / "read_checkpoint.py";
  const auto code =
      std::system((std::string(LSD_PYTHON) + " " + script.string() + " " + folder.path().string()).c_str());
  EXPECT_EQ(code, 0) << "the Python packages safetensors and xxhash are needed: ./dev test installs them";
}

}  // namespace
}  // namespace lsd::io
