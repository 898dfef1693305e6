// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "lsd/core/run_dir.h"
#include "lsd/io/embedding_format.h"
#include "lsd/tasks/dump_latents.h"
#include "lsd/tasks/probe.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "tiny_models.h"
#include "training_support.h"
#include "verify/run_checks_internal.h"

namespace fs = std::filesystem;

namespace lsd::tasks {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using verifying::Problem;

void write_bytes(const fs::path& file, const std::string& bytes) {
  std::ofstream(file, std::ios::binary) << bytes;
}

std::vector<Problem> problems_in(const fs::path& folder, int threads = 1) {
  const Log log({.quiet = true});
  const StopSignal stop;
  std::vector<verifying::Artefact> artefacts;
  for (const auto& place : verifying::find_artefacts({folder.string()}))
    artefacts.push_back(verifying::plan_artefact(place));
  auto problems = verifying::run_checks(verifying::share_of_rank(artefacts, 0, 1), {threads, log, stop});
  for (const auto& artefact : artefacts)
    problems.insert(problems.end(), artefact.problems.begin(), artefact.problems.end());
  return problems;
}

// One of each kind, made once: tests put back what they change.
class VerifyTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new testing::TemporaryFolder;
    testing::make_shards(*folder_ / "sharding", 60, 40);
    testing::write_tiny_autoencoder(*folder_ / "nm");
    testing::write_tiny_diffusion(*folder_ / "diffusion", *folder_ / "nm");
    write_dump("residues");
    write_dump("means");
    write_probe();
  }
  static void TearDownTestSuite() { delete std::exchange(folder_, nullptr); }

  static void write_dump(const std::string& mode, std::int64_t task_index = 0, std::int64_t task_count = 1) {
    DumpLatentsConfig config;
    config.features.autoencoder = (*folder_ / "nm").string();
    config.features.capacity = 512;
    config.input.shards = (*folder_ / "sharding/shards").string();
    config.output = {.directory = (*folder_ / mode).string(), .mode = mode, .tokens_per_part = 1024};
    config.output.task_index = task_index;
    config.output.task_count = task_count;
    testing::run_on_ranks(2, [&](Runtime& runtime) { return dump_latents(config, runtime); });
  }

  static void write_probe() {
    std::string table = "id,sequence,label,split\n";
    for (int i = 0; i < 30; ++i)
      table += fmt::format("q{},{},{},{}\n", i, testing::random_letters(12, static_cast<std::uint64_t>(i)), i % 2,
                           i < 16   ? "train"
                           : i < 22 ? "valid"
                                    : "test");
    write_bytes(*folder_ / "t.csv", table);
    ProbeConfig config;
    config.run.directory = (*folder_ / "probe").string();
    config.task.file = (*folder_ / "t.csv").string();
    config.task.kind = "binary";
    config.features.autoencoder = (*folder_ / "nm").string();
    config.features.capacity = 256;
    config.sweep.seeds = {1, 2};
    config.head.epochs = 2;
    testing::run_on_ranks(1, [&](Runtime& runtime) { return probe(config, runtime); });
  }

  static Outcome run(const fs::path& folder, const fs::path& json = {}, int ranks = 1) {
    const VerifyConfig config{.folders = {folder.string()}, .json = json.string(), .threads = 2};
    return testing::run_on_ranks(ranks, [&](Runtime& runtime) { return verify(config, runtime); });
  }

  // Files that a manifest (or a seal of their own) guards; not those of the run that made them.
  static std::vector<fs::path> guarded_files(const fs::path& folder) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
      const auto name = entry.path().filename().string();
      const bool of_the_run = name == "environment.json" || name == "provenance.json" || name == "config.cfg" ||
                              name == "DONE" || name == "in.fasta" || name == "attempt.json" ||
                              name == "metrics.jsonl" || name.starts_with("rank-");
      if (entry.is_regular_file() && !of_the_run) files.push_back(entry.path());
    }
    std::ranges::sort(files);
    return files;
  }

  // The ends, where heads and trailers are, and places spread over all of the file.
  static std::vector<std::size_t> sample_of_positions(std::size_t size) {
    std::vector<std::size_t> positions;
    for (std::size_t i = 0; i < std::min<std::size_t>(size, 24); ++i) {
      positions.push_back(i);
      positions.push_back(size - 1 - i);
    }
    const auto step = std::max<std::size_t>(size / 60, 1);
    for (std::size_t at = 24; at < size; at += step) positions.push_back(at);
    return positions;
  }

  static void expect_every_flip_is_found(const fs::path& folder) {
    ASSERT_THAT(problems_in(folder), IsEmpty());
    for (const auto& file : guarded_files(folder)) {
      const std::string good = read_text_file(file);
      for (const auto position : sample_of_positions(good.size())) {
        std::string bad = good;
        bad[position] = static_cast<char>(bad[position] ^ (1 << (position % 7)));
        write_bytes(file, bad);
        const auto problems = problems_in(folder);
        const bool named = std::ranges::any_of(
            problems, [&](const Problem& problem) { return problem.file == file.string() && !problem.what.empty(); });
        EXPECT_TRUE(named) << file << ", byte " << position << " of " << good.size();
      }
      write_bytes(file, good);
    }
    EXPECT_THAT(problems_in(folder), IsEmpty());
  }

  static testing::TemporaryFolder* folder_;
};
testing::TemporaryFolder* VerifyTest::folder_ = nullptr;

TEST_F(VerifyTest, IntactArtefactsPassOnAnyNumberOfRanks) {
  for (const int ranks : {1, 2, 4}) EXPECT_EQ(run(folder_->path(), {}, ranks), Outcome::done) << ranks;
}

TEST_F(VerifyTest, EveryFlippedBitOfShardsIsFound) {
  expect_every_flip_is_found(*folder_ / "sharding/shards");
}
TEST_F(VerifyTest, EveryFlippedBitOfCheckpointsIsFound) {
  expect_every_flip_is_found(*folder_ / "diffusion");
}
TEST_F(VerifyTest, EveryFlippedBitOfADumpIsFound) {
  expect_every_flip_is_found(*folder_ / "residues");
}
TEST_F(VerifyTest, EveryFlippedBitOfMeansIsFound) {
  expect_every_flip_is_found(*folder_ / "means");
}
TEST_F(VerifyTest, EveryFlippedBitOfAProbeSweepIsFound) {
  expect_every_flip_is_found(*folder_ / "probe");
}

TEST_F(VerifyTest, MissingAndShortFilesAreNamed) {
  for (const auto* kind : {"sharding/shards", "diffusion", "residues", "probe"}) {
    for (const auto& file : guarded_files(*folder_ / kind)) {
      const std::string good = read_text_file(file);
      const auto mentions = [&](const std::vector<Problem>& problems) {
        return std::ranges::any_of(problems, [&](const auto& problem) { return problem.file == file.string(); });
      };
      write_bytes(file, good.substr(0, good.size() / 2));
      EXPECT_TRUE(mentions(problems_in(*folder_ / kind))) << file << " cut short";
      fs::remove(file);
      EXPECT_TRUE(mentions(problems_in(*folder_ / kind))) << file << " missing";
      write_bytes(file, good);
    }
  }
}

// What is lost whole is in no list but the run's own word.
TEST_F(VerifyTest, ADoneRunWithoutItsResultsIsAProblem) {
  const testing::TemporaryFolder folder;
  RunDir(folder / "nm", "lsd_train_autoencoder", "", "00ff").commit_state(RunState::done, "all steps are done");
  fs::copy(*folder_ / "nm/checkpoints", folder / "nm/checkpoints", fs::copy_options::recursive);
  EXPECT_THAT(problems_in(folder / "nm"), IsEmpty());
  fs::remove_all(folder / "nm/checkpoints");
  auto problems = problems_in(folder / "nm");
  ASSERT_THAT(problems, SizeIs(1));
  EXPECT_EQ(problems[0].file, folder / "nm/checkpoints");
  EXPECT_THAT(problems[0].what, HasSubstr("DONE beside it says that the run is done"));
  fs::create_directory(folder / "nm/checkpoints");
  EXPECT_THAT(problems_in(folder / "nm"), SizeIs(1)) << "an empty folder is no checkpoint";

  RunDir(folder / "probe", "lsd_probe", "", "00ff").commit_state(RunState::done, "2 results");
  fs::remove(folder / "probe/config.cfg");
  problems = problems_in(folder / "probe");
  ASSERT_THAT(problems, SizeIs(1));
  EXPECT_EQ(problems[0].file, folder / "probe/config.cfg");
}

TEST_F(VerifyTest, DamageIsNamedByBlockAndRecord) {
  const auto file = *folder_ / "residues/part-00000-of-00003.h5";
  const std::string good = read_text_file(file);
  const io::EmbeddingPart part = io::read_embedding_manifest(*folder_ / "residues").parts.front();
  std::string bad = good;
  bad[good.size() - 12000] = static_cast<char>(bad[good.size() - 12000] ^ 4);  // among the rows, the largest table
  write_bytes(file, bad);
  const auto problems = problems_in(*folder_ / "residues");
  write_bytes(file, good);
  ASSERT_THAT(problems, SizeIs(1));
  EXPECT_EQ(problems[0].kind, "dump");
  EXPECT_THAT(problems[0].what, HasSubstr("block 0 of the table 'latents'"));
  EXPECT_THAT(problems[0].what, HasSubstr(fmt::format("records 0 to {} of the file", part.records - 1)));
}

TEST_F(VerifyTest, ADamagedProbeResultIsOneProblem) {
  const auto file = *folder_ / "probe/t.nm.encoder.t0.linear.seed1.json";
  const std::string good = read_text_file(file);
  std::string edited = good;
  edited.replace(edited.find("\"width\": "), 9, "\"width\": 1");
  std::string unsealed = good;
  unsealed.replace(unsealed.find("checksum"), 8, "chicksum");
  for (const auto& bad : {edited, good.substr(0, good.size() / 2), unsealed, std::string("{}")}) {
    write_bytes(file, bad);
    const auto problems = problems_in(*folder_ / "probe");
    write_bytes(file, good);
    ASSERT_THAT(problems, SizeIs(1));
    EXPECT_EQ(problems[0].file, file.string());
    EXPECT_THAT(problems[0].what, ::testing::Not(HasSubstr(file.filename().string())));
  }
}

TEST_F(VerifyTest, ProblemsDoNotRepeatTheNameOfTheirFile) {
  EXPECT_EQ(verifying::without_name("a/x.h5: block 3 is damaged", "a/x.h5"), "block 3 is damaged");
  EXPECT_EQ(verifying::without_name("a/x.h5 cannot be read", "a/x.h5"), "it cannot be read");
  const auto what = verifying::problem_of([]() -> std::string {
    throw lsd::with_context("while summing set 2", [] {
      return lsd::with_context("while reading a/x.h5",
                               []() -> DataError { throw DataError("it is cut short; restore it"); });
    });
  });
  EXPECT_EQ(verifying::without_name(what, "a/x.h5"), "it is cut short; restore it;   while summing set 2");
  EXPECT_EQ(verifying::without_name(what, "a/y.h5"), what);
  EXPECT_EQ(verifying::counted(1, "problem"), "1 problem");
  EXPECT_EQ(verifying::counted(0, "file"), "0 files");
}

TEST_F(VerifyTest, StatesOfAnArraysTasksAreNoDumpsOfTheirOwn) {
  write_dump("moments", 1, 2);
  write_dump("moments", 0, 2);
  EXPECT_TRUE(fs::exists(*folder_ / "moments/tasks/0001-of-0002/environment.json"));
  EXPECT_THAT(problems_in(*folder_ / "moments"), IsEmpty());
  EXPECT_THAT(verifying::find_artefacts({(*folder_ / "moments").string()}), SizeIs(1));
}

TEST_F(VerifyTest, FilesOfAnotherSetAreRefused) {
  const auto one = *folder_ / "residues/part-00000-of-00003.h5", two = *folder_ / "residues/part-00001-of-00003.h5";
  const std::string first = read_text_file(one), second = read_text_file(two);
  write_bytes(one, second);
  EXPECT_THAT(problems_in(*folder_ / "residues"), SizeIs(1));
  write_bytes(one, first);
}

TEST_F(VerifyTest, AnUnfinishedDumpIsCheckedByItsParts) {
  const auto manifest = *folder_ / "residues/manifest.json", part = *folder_ / "residues/part-00001-of-00003.h5";
  const std::string text = read_text_file(manifest), bytes = read_text_file(part);
  fs::remove(manifest);
  EXPECT_THAT(problems_in(*folder_ / "residues"), SizeIs(1));
  fs::remove(part);
  const auto problems = problems_in(*folder_ / "residues");
  write_bytes(manifest, text);
  write_bytes(part, bytes);
  ASSERT_THAT(problems, SizeIs(2));
  EXPECT_EQ(problems[1].file, part.string());
}

TEST_F(VerifyTest, TheReportHoldsEveryProblem) {
  const auto shard = *folder_ / "sharding/shards/train-00000-of-00001.h5", report = *folder_ / "report.json";
  const std::string good = read_text_file(shard);
  write_bytes(shard, good.substr(0, good.size() - 1));
  for (const int ranks : {1, 3}) {
    EXPECT_EQ(run(*folder_ / "sharding", report, ranks), Outcome::failed);
    const auto json = nlohmann::json::parse(read_text_file(report));
    EXPECT_EQ(json["format"], "lsd-verification");
    EXPECT_EQ(json["intact"], false);
    ASSERT_THAT(json["problems"], SizeIs(1));
    EXPECT_EQ(json["problems"][0]["file"], shard.string());
    EXPECT_THAT(json["problems"][0]["problem"].get<std::string>(), HasSubstr("cut short"));
  }
  write_bytes(shard, good);
  EXPECT_EQ(run(*folder_ / "sharding", report, 2), Outcome::done);
  EXPECT_EQ(nlohmann::json::parse(read_text_file(report))["intact"], true);
  fs::remove(report);
}

TEST_F(VerifyTest, WhereThereIsNothingToVerifyThatIsAnError) {
  const testing::TemporaryFolder empty;
  testing::expect_error<UserError>([&] { run(empty.path()); }, {empty.path().string(), "nothing that can be verified"});
  testing::expect_error<UserError>([&] { run(empty / "absent"); }, {"no folder"});
}

TEST_F(VerifyTest, FilesGoToTheRankWithTheLeastToRead) {
  verifying::Artefact artefact{.kind = "dump", .folder = "d"};
  for (const std::int64_t bytes : {10, 50, 30, 20}) artefact.files.push_back({std::to_string(bytes), bytes, {}});
  const std::vector<verifying::Artefact> artefacts{artefact};  // a share points into them
  const auto sizes = [&](int rank) {
    const auto share = verifying::share_of_rank(artefacts, rank, 2);
    std::vector<std::int64_t> found;
    for (const auto* check : share.checks) found.push_back(check->bytes);
    return found;
  };
  EXPECT_THAT(sizes(0), ElementsAre(50, 10));  // 50 | 30; 20 to the second; 10 to either
  EXPECT_THAT(sizes(1), ElementsAre(30, 20));
}

}  // namespace
}  // namespace lsd::tasks
