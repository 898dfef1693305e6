// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/shard.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <nlohmann/json.hpp>
#include <set>

#include "lsd/core/error.h"
#include "lsd/core/philox.h"
#include "lsd/core/run_dir.h"
#include "lsd/data/alphabet.h"
#include "lsd/data/shard_set.h"
#include "lsd/data/sharding.h"
#include "shard_support.h"
#include "support/expect_error.h"
#include "support/metric_lines.h"
#include "support/temporary_folder.h"

namespace lsd {
namespace {

using testing::expect_error;
using testing::result_files;
using testing::run_shard_on_threads;
using testing::small_config;
using testing::TemporaryFolder;
using testing::write_file;

struct Fake {
  std::string id, letters;
};

// Random proteins of 1 to 150 residues with rare letters.
std::vector<Fake> fake_records(int count, std::uint32_t seed) {
  constexpr std::string_view letters = "LAGVSERTIDPKQNFYMHWCXBUZO";
  std::vector<Fake> records;
  for (int i = 0; i < count; ++i) {
    Fake record{.id = fmt::format("P{}_{}", seed, i)};
    const auto key = random_key(seed, RandomStream::sample);
    const auto length = 1 + bounded_from_word(random_word(key, 0, static_cast<std::uint64_t>(i), 1), 150);
    for (std::uint32_t at = 0; at < length; ++at)
      record.letters += letters[bounded_from_word(random_word(key, at, static_cast<std::uint64_t>(i)), 25)];
    records.push_back(record);
  }
  return records;
}

std::string fasta_text(const std::vector<Fake>& records, std::string_view line_end = "\n") {
  std::string text;
  for (const auto& record : records) {
    text += fmt::format(">{} a protein{}", record.id, line_end);
    for (std::size_t at = 0; at < record.letters.size(); at += 60)
      text += record.letters.substr(at, 60) + std::string(line_end);
  }
  return text;
}

void write_gzip(const std::filesystem::path& path, std::string_view text) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
}

std::map<std::string, std::string> letters_by_id(const std::filesystem::path& folder) {
  std::map<std::string, std::string> found;
  for (const auto name : data::kSplits) {
    const auto split = data::open_shard_split(folder, name);
    split->verify();
    for (std::int64_t i = 0; i < split->size(); ++i) {
      std::string letters;
      for (const auto token : split->residues(i)) letters += data::kTokens[token];
      found[std::string(split->id(i))] = letters;
    }
  }
  return found;
}

TEST(Shard, EveryRecordComesBackWithItsIdAndResidues) {
  const TemporaryFolder folder;
  const auto records = fake_records(300, 1);
  write_file(folder / "a.fasta", fasta_text(records));
  run_shard_on_threads(small_config({folder / "a.fasta"}, folder / "out"), 1);

  const auto found = letters_by_id(folder / "out");
  ASSERT_EQ(found.size(), records.size());
  for (const auto& record : records) EXPECT_EQ(found.at(record.id), record.letters) << record.id;
}

TEST(Shard, AnyNumberOfRanksWritesTheSameBytes) {
  const TemporaryFolder folder;
  write_file(folder / "a.fasta", fasta_text(fake_records(300, 1)));
  write_file(folder / "b.fasta", fasta_text(fake_records(40, 2), "\r\n"));
  write_file(folder / "c.fasta", fasta_text(fake_records(1, 3), "\r"));
  write_gzip(folder / "d.fasta.gz", fasta_text(fake_records(120, 4)));
  write_gzip(folder / "e.fasta.gz", fasta_text(fake_records(30, 5)));
  auto config = small_config(
      {folder / "a.fasta", folder / "d.fasta.gz", folder / "b.fasta", folder / "c.fasta", folder / "e.fasta.gz"},
      folder / "out1");
  config.records.dedupe = true;
  config.records.duplicate_ids = "drop_record";
  run_shard_on_threads(config, 1);
  const auto expected = result_files(folder / "out1");
  ASSERT_GE(expected.size(), 10U);
  for (const int ranks : {2, 3, 4, 7}) {
    SCOPED_TRACE(ranks);
    config.output.directory = folder / fmt::format("out{}", ranks);
    run_shard_on_threads(config, ranks);
    EXPECT_TRUE(result_files(config.output.directory) == expected);
  }
}

nlohmann::json manifest_of(const std::filesystem::path& folder) {
  return nlohmann::json::parse(read_text_file(folder / "manifest.json"));
}

TEST(Shard, SplitsAndOrderFollowSeedAndIdsAlone) {
  const TemporaryFolder folder;
  const auto records = fake_records(1000, 1);
  write_file(folder / "a.fasta", fasta_text(records));
  auto config = small_config({folder / "a.fasta"}, folder / "out");
  config.shards.records = 100;
  run_shard_on_threads(config, 2);
  std::vector<std::uint64_t> order;
  for (std::size_t split = 0; split < data::kSplits.size(); ++split) {
    const auto source = data::open_shard_split(folder / "out", data::kSplits[split]);
    std::uint64_t last_key = 0;
    for (std::int64_t i = 0; i < source->size(); ++i) {
      const auto number = source->record_number(i);
      EXPECT_EQ(source->id(i), records[number].id);
      EXPECT_EQ(data::split_of_id(source->id(i), 1, {0.2, 0.1}), static_cast<int>(split));
      EXPECT_GE(data::shuffle_key(number, 1), last_key);
      last_key = data::shuffle_key(number, 1);
      if (split == 0) order.push_back(number);
    }
  }
  // Binomial: 1,000 ids, 70 % for training, five standard deviations.
  EXPECT_NEAR(static_cast<double>(order.size()), 700, 5 * 14.5);
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
  config.split.seed = 2;
  config.output.directory = folder / "other";
  run_shard_on_threads(config, 1);
  EXPECT_NE(manifest_of(folder / "other")["splits"], manifest_of(folder / "out")["splits"]);
}

TEST(Shard, EveryFateIsCountedAndTheCountsAddUp) {
  const TemporaryFolder folder;
  write_file(folder / "a.fasta",
             "\xEF\xBB\xBF>good1\r\nMKVLA*\r\n>gap\r\nMK-VLA\r\n>stop\r\nMK*VLA\r\n>digit\r\nMK1VLA\r\n>empty\r\n>"
             "short\r\nMK\r\n"
             ">long\r\nMKVLAMKVLAMKVLA\r\n>unknown\r\nMXXXXX\r\n>good1\r\nAAAAA\r\n>same\r\nMKVLA\r\n>lower "
             "h\xC3\xA9\r\nmkvJAUOBZ X\r\n>good2\r\nGGGGG");
  auto config = small_config({folder / "a.fasta"}, folder / "out");
  config.length = {.min = 3, .max = 12};
  config.residues = {.gaps = "drop_record", .inner_stops = "drop_record", .other = "drop_record", .max_unknown = 0.5};
  config.records = {.empty = "drop_record", .duplicate_ids = "drop_record", .dedupe = true};
  for (const int ranks : {1, 3}) {
    SCOPED_TRACE(ranks);
    config.output.directory = folder / fmt::format("out{}", ranks);
    run_shard_on_threads(config, ranks);
    const auto counts = manifest_of(config.output.directory)["counts"];
    EXPECT_EQ(counts["read_records"], 12);
    EXPECT_EQ(counts["kept_records"], 3);
    EXPECT_EQ(counts["kept_residues"], 5 + 10 + 5);
    for (const std::string why : {"gaps", "inner_stops", "other_bytes", "empty", "too_short", "too_long",
                                  "too_many_unknown", "duplicate_id", "duplicate_sequence"})
      EXPECT_EQ(counts["dropped_" + why + "_records"], 1) << why;
    EXPECT_EQ(counts["dropped_too_long_residues"], 15);
    EXPECT_EQ(counts["byte_order_marks"], 1);
    EXPECT_EQ(counts["carriage_returns"], 22);
    EXPECT_EQ(counts["missing_final_line_end"], 1);
    EXPECT_EQ(counts["non_ascii_headers"], 1);
    EXPECT_EQ(counts["lower_case_residues"], 3);
    EXPECT_EQ(counts["letters_turned_into_X"], 1);
    EXPECT_EQ(counts["final_stops_dropped"], 1);
    EXPECT_EQ(counts["blanks_dropped"], 1);
    const auto found = letters_by_id(config.output.directory);
    EXPECT_EQ(found,
              (std::map<std::string, std::string>{{"good1", "MKVLA"}, {"lower", "MKVXAUOBZX"}, {"good2", "GGGGG"}}));
  }
}

TEST(Shard, RemovingGapsAndStopsKeepsTheRecord) {
  const TemporaryFolder folder;
  write_file(folder / "a.fasta", ">a\nM-K.V*LA*\n");
  auto config = small_config({folder / "a.fasta"}, folder / "out");
  config.residues.gaps = config.residues.inner_stops = "remove";
  run_shard_on_threads(config, 1);
  EXPECT_EQ(letters_by_id(folder / "out").at("a"), "MKVLA");
}

// The error names file, record, id, line and what to do, on every rank alike; the new output folder is gone again.
TEST(Shard, BadRecordsAreNamedWhateverTheRanks) {
  struct Case {
    std::string text;
    std::vector<std::string> words;
  };
  const std::vector<Case> cases = {
      {">a\nMKV\n>b\nMK\nV-L\n>c\nLL\n", {"record 2 ('b')", "line 5", "'-'", "residues.gaps"}},
      {">a\nMKV\n>b\nMK*V\n>c\nLL\n", {"record 2 ('b')", "line 4", "'*'", "residues.inner_stops"}},
      {">a\nMKV\n>b\nMKV\n>c\nL7L\n", {"record 3 ('c')", "line 6", "'7'", "digit", "residues.other"}},
      {std::string(">a\nMKV\n>b\nM\0V\n>c\nLL\n", 20), {"record 2 ('b')", "line 4", "0x00", "NUL"}},
      {">a\nMKV\n>b\nMKV\n>c\nL\xC3\xA9L\n", {"record 3 ('c')", "0xC3", "ASCII"}},
      {">a\nMKV\n>b\nMKV\n+\nIII\n", {"record 2 ('b')", "line 5", "FASTQ"}},
      {">a\nMKV\n>b\nMKV\n>\nLL\n", {"record 3", "line 5", "no id"}},
      {">a\nMKV\n>b\nMKV\n>a\nLL\n",
       {"record 3 ('a'), line 5", "same id as", "record 1 ('a'), line 1", "records.duplicate_ids"}},
      {"MKV\n>a\nMKV\n", {"line 1", "before the first header"}},
      {"@r\nACGT\n+\nIIII\n", {"FASTQ"}},
      {">a\n>b\n>c\n", {"no record is left of 3", "dropped_empty"}},
  };
  for (const auto& bad : cases) {
    for (const int ranks : {1, 2, 4}) {
      SCOPED_TRACE(bad.text + fmt::format(" on {}", ranks));
      const TemporaryFolder folder;
      write_file(folder / "bad.fasta", bad.text);
      auto words = bad.words;
      if (words[0].find("left") == std::string::npos) words.push_back("bad.fasta");
      std::string message;
      try {
        run_shard_on_threads(small_config({folder / "bad.fasta"}, folder / "out"), ranks);
        ADD_FAILURE() << "nothing was thrown";
      } catch (const DataError& error) {
        message = error.what();
      }
      for (const auto& word : words)
        EXPECT_NE(message.find(word), std::string::npos) << "no '" << word << "' in: " << message;
      EXPECT_FALSE(std::filesystem::exists(folder / "out"));
    }
  }
}

TEST(Shard, BadFilesAreNamed) {
  const TemporaryFolder folder;
  write_file(folder / "good.fasta", ">a\nMKV\n");
  write_file(folder / "empty.fasta", "");
  const auto run = [&](std::vector<std::string> files) {
    files.insert(files.begin(), folder / "good.fasta");
    run_shard_on_threads(small_config(files, folder / "out"), 2);
  };
  expect_error<DataError>([&] { run({folder / "missing.fasta"}); }, {"missing.fasta", "No such file"});
  expect_error<DataError>([&] { run({folder / "empty.fasta"}); }, {"empty.fasta", "empty"});
  expect_error<DataError>([&] { run({folder.path()}); }, {"is a folder"});
  expect_error<UserError>([&] { run({"-", "-"}); }, {"standard input"});
  expect_error<DataError>([&] { run({folder / "good.fasta"}); }, {"same id", "good.fasta, record 1"});
}

// A pipe that holds a text of at most a pipe's size.
class Stream {
 public:
  explicit Stream(std::string_view text) {
    if (::pipe(ends_) != 0 || ::write(ends_[1], text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      throw InternalError("no pipe for this test");
    ::close(ends_[1]);
  }
  ~Stream() { ::close(ends_[0]); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  std::string path() const { return fmt::format("/dev/fd/{}", ends_[0]); }

 private:
  int ends_[2] = {-1, -1};
};

TEST(Shard, RepeatsInAStreamAreNamedByRecordAndId) {
  const TemporaryFolder folder;
  const Stream stream(">a\nMKV\n>b\nMA\n>a\nMKVA\n");
  expect_error<DataError>([&] { run_shard_on_threads(small_config({stream.path()}, folder / "out"), 2); },
                          {stream.path() + ", record 3 ('a')", "the same id as " + stream.path() + ", record 1 ('a')"});
}

TEST(Shard, OfAStreamNothingIsEstimated) {
  const TemporaryFolder folder;
  write_file(folder / "a.fasta", ">a\nMKV\n>b\nMKVA\n");
  const auto told_of = [&](const std::string& input, const std::string& output) {
    const auto alone = dist::make_single_communicator();
    ::testing::internal::CaptureStderr();
    testing::run_shard(small_config({folder / "a.fasta", input}, folder / output), *alone, {.quiet = false});
    return ::testing::internal::GetCapturedStderr();
  };
  const Stream stream(">c\nMKVL\n");
  const auto told = told_of(stream.path(), "out");
  EXPECT_NE(told.find("2 input file(s), of which a stream tells its size at its end only"), std::string::npos) << told;
  EXPECT_EQ(told.find("estimate:"), std::string::npos) << told;
  write_file(folder / "c.fasta", ">c\nMKVL\n");
  const auto of_files = told_of(folder / "c.fasta", "same");
  EXPECT_NE(of_files.find("23 bytes of input on the rank with the most"), std::string::npos) << of_files;
}

TEST(Shard, AFinishedSetIsLeftAloneAndAnotherOneRefused) {
  const TemporaryFolder folder;
  write_file(folder / "a.fasta", fasta_text(fake_records(100, 1)));
  auto config = small_config({folder / "a.fasta"}, folder / "out");
  run_shard_on_threads(config, 2);
  const auto manifest = folder / "out" / "manifest.json";
  const auto written = std::filesystem::last_write_time(manifest);
  EXPECT_EQ(run_shard_on_threads(config, 1), tasks::Outcome::done);
  EXPECT_EQ(std::filesystem::last_write_time(manifest), written);
  config.split.seed = 2;
  expect_error<UserError>([&] { run_shard_on_threads(config, 2); }, {"holds another run", "choose another folder"});
  EXPECT_EQ(std::filesystem::last_write_time(manifest), written);
  config.split.seed = 1;
  write_file(folder / "a.fasta", fasta_text(fake_records(101, 1)));
  expect_error<UserError>([&] { run_shard_on_threads(config, 2); }, {"holds another run"});
}

// Names need not be UTF-8 on Linux; the manifest that tells them is.
TEST(Shard, AFileNameThatIsNoUtf8IsNoObstacle) {
  const TemporaryFolder folder;
  write_file(folder / "caf\xE9.fasta", fasta_text(fake_records(20, 1)));
  const auto config = small_config({folder / "caf\xE9.fasta"}, folder / "out");
  EXPECT_EQ(run_shard_on_threads(config, 2), tasks::Outcome::done);
  const auto manifest = read_text_file(folder / "out/manifest.json");
  EXPECT_NE(manifest.find("caf\xEF\xBF\xBD.fasta"), std::string::npos) << manifest;
  EXPECT_EQ(run_shard_on_threads(config, 1), tasks::Outcome::done);
  EXPECT_EQ(read_text_file(folder / "out/manifest.json"), manifest);
}

TEST(Shard, AFinishedSetWithAHoleIsMadeAgain) {
  const TemporaryFolder folder;
  write_file(folder / "a.fasta", fasta_text(fake_records(100, 1)));
  const auto config = small_config({folder / "a.fasta"}, folder / "out");
  run_shard_on_threads(config, 1);
  const auto before = result_files(folder / "out");
  for (const auto& [name, bytes] : before)
    if (name.starts_with("valid")) std::filesystem::remove(folder / "out" / name);
  run_shard_on_threads(config, 2);
  EXPECT_TRUE(result_files(folder / "out") == before);
}

TEST(Shard, ForeignAndUnwritableFoldersAreRefused) {
  const TemporaryFolder folder;
  write_file(folder / "a.fasta", ">a\nMKV\n");
  std::filesystem::create_directory(folder / "mine");
  write_file(folder / "mine" / "thesis.txt", "precious");
  expect_error<UserError>([&] { run_shard_on_threads(small_config({folder / "a.fasta"}, folder / "mine"), 2); },
                          {"mine", "thesis.txt"});
  expect_error<UserError>([&] { run_shard_on_threads(small_config({folder / "a.fasta"}, folder / "a.fasta"), 2); },
                          {"not a folder"});
  expect_error<SystemError>([&] { run_shard_on_threads(small_config({folder / "a.fasta"}, "/proc/nowhere"), 2); },
                            {"/proc/nowhere"});
}

TEST(Shard, StreamsAreReadByTheFirstRank) {
  const TemporaryFolder folder;
  const auto text = fasta_text(fake_records(50, 1));
  write_file(folder / "a.fasta", text);
  auto config = small_config({folder / "a.fasta"}, folder / "file");
  run_shard_on_threads(config, 1);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ASSERT_EQ(::write(ends[1], text.data(), text.size()), static_cast<ssize_t>(text.size()));
  ::close(ends[1]);
  config.input.files = {fmt::format("/dev/fd/{}", ends[0])};
  config.output.directory = folder / "stream";
  run_shard_on_threads(config, 3);
  ::close(ends[0]);
  EXPECT_EQ(letters_by_id(folder / "stream"), letters_by_id(folder / "file"));
  EXPECT_EQ(manifest_of(folder / "stream")["inputs"][0]["encoding"], "stream");
}

TEST(Shard, StopsWhenAskedAndStartsAnew) {
  const TemporaryFolder folder;
  write_file(folder / "a.fasta", fasta_text(fake_records(300, 1)));
  const auto config = small_config({folder / "a.fasta"}, folder / "out");
  EXPECT_EQ(run_shard_on_threads(config, 2, /*stop_at_once=*/true), tasks::Outcome::stopped);
  EXPECT_TRUE(std::filesystem::exists(folder / "out" / "STOPPED"));
  EXPECT_FALSE(std::filesystem::exists(folder / "out" / "manifest.json"));
  EXPECT_EQ(run_shard_on_threads(config, 2), tasks::Outcome::done);
  EXPECT_TRUE(std::filesystem::exists(folder / "out" / "DONE"));
  EXPECT_FALSE(std::filesystem::exists(folder / "out" / "STOPPED"));
}

TEST(Shard, RefusesRatherThanExceedTheMemoryLimit) {
  const TemporaryFolder folder;
  write_file(folder / "a.fasta", fasta_text(fake_records(300, 1)));
  auto config = small_config({folder / "a.fasta"}, folder / "out");
  config.memory.limit = 1e-5;
  expect_error<UserError>([&] { run_shard_on_threads(config, 2); }, {"estimated from its size", "memory.limit"});
  config.memory.limit = 1e-3;  // more than the estimate, less than one block of the store
  expect_error<UserError>([&] { run_shard_on_threads(config, 2); }, {"read so far", "memory.limit"});
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
}

TEST(Shard, ARefusalBeforeTheFirstShardLeavesTheFolderToTheMendedCommand) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 12; ++i) text += fmt::format(">P{}\n{}\n", i, std::string(1000000, 'M'));
  write_file(folder / "a.fasta", text);
  auto config = small_config({folder / "a.fasta"}, folder / "out");
  config.memory.limit = 50.0 / 1024;  // enough to read, not to exchange a shard of everything
  expect_error<UserError>([&] { run_shard_on_threads(config, 2); }, {"putting shards together", "memory.limit"});
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
  config.shards.records = 2;
  EXPECT_EQ(run_shard_on_threads(config, 2), tasks::Outcome::done);
}

// While a start reads, the word of the one before does not stand, or another run would take the folder over; a start
// that ends before it wrote leaves such a word again.
TEST(Shard, ARefusalInTheFolderOfARefusedStartLeavesItToTheMendedCommand) {
  const TemporaryFolder folder;
  RunDir(folder / "out", "lsd_shard_uniref50", "", "00ff").commit_state(RunState::failed, "no space");
  std::filesystem::create_directories(folder / "out/attempts/0001");
  std::string text;
  for (int i = 0; i < 12; ++i) text += fmt::format(">P{}\n{}\n", i, std::string(1000000, 'M'));
  write_file(folder / "a.fasta", text);
  auto config = small_config({folder / "a.fasta"}, folder / "out");
  config.memory.limit = 50.0 / 1024;
  expect_error<UserError>([&] { run_shard_on_threads(config, 2); }, {"putting shards together"});
  expect_error<UserError>([&] { run_shard_on_threads(config, 2); }, {"putting shards together"});  // the same again
  config.shards.records = 2;
  EXPECT_EQ(run_shard_on_threads(config, 2), tasks::Outcome::done);
}

TEST(Shard, ASplitThatStaysEmptyIsToldOf) {
  const TemporaryFolder folder;
  write_file(folder / "a.fasta", ">a\nMKV\n>b\nMKVA\n");
  auto config = small_config({folder / "a.fasta"}, folder / "out");
  config.split.valid = 0.001;
  config.split.test = 0;
  ::testing::internal::CaptureStderr();
  run_shard_on_threads(config, 2);
  const auto told = ::testing::internal::GetCapturedStderr();
  EXPECT_NE(told.find("none of the 2 records kept fell to the split 'valid', whose share is 0.001"), std::string::npos)
      << told;
  EXPECT_NE(told.find("--split.valid"), std::string::npos);
  EXPECT_EQ(told.find("'test'"), std::string::npos) << "nobody asked for it";
  EXPECT_EQ(told.find("none of", told.find("none of") + 1), std::string::npos) << "told once";
}

TEST(Shard, NothingLeftNamesTheOptionThatDroppedMost) {
  const TemporaryFolder folder;
  write_file(folder / "a.fasta", ">a\nMKV\n>b\nMKVA\n>c\n");
  auto config = small_config({folder / "a.fasta"}, folder / "out");
  config.length.min = 30;
  expect_error<DataError>([&] { run_shard_on_threads(config, 1); },
                          {"no record is left of 3 read: 2 were dropped_too_short; look at --length.min"});
}

TEST(Shard, MoreRanksThanRecordsIsFine) {
  const TemporaryFolder folder;
  write_file(folder / "a.fasta", ">a\nMKV\n");
  run_shard_on_threads(small_config({folder / "a.fasta"}, folder / "out1"), 1);
  run_shard_on_threads(small_config({folder / "a.fasta"}, folder / "out5"), 5);
  EXPECT_TRUE(result_files(folder / "out1") == result_files(folder / "out5"));
}

TEST(Shard, TimeAndRanksStandInProvenanceOnly) {
  const TemporaryFolder folder;
  write_file(folder / "a.fasta", ">a\nMKV\n");
  run_shard_on_threads(small_config({folder / "a.fasta"}, folder / "out"), 3);
  const auto provenance = nlohmann::json::parse(read_text_file(folder / "out" / "provenance.json"));
  EXPECT_EQ(provenance["ranks"], 3);
  EXPECT_EQ(provenance["hosts"].size(), 3U);
  EXPECT_TRUE(provenance.contains("finished"));
}

TEST(Shard, MetricsTellWhatEachPartOfTheWorkTook) {
  const TemporaryFolder folder;
  write_file(folder / "a.fasta", ">a\nMKV\n>b\nMKVLA\n>a\nMKL\n");
  auto config = small_config({folder / "a.fasta"}, folder / "out");
  config.records.duplicate_ids = "drop_record";
  run_shard_on_threads(config, 2);
  const auto lines = testing::metric_lines(folder / "out");
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0]["kind"], "read");
  EXPECT_EQ(lines[1]["kind"], "order");
  EXPECT_EQ(lines[2]["kind"], "write");
  EXPECT_EQ(lines[0]["records"], 3);
  EXPECT_EQ(lines[0]["residues"], 11);
  EXPECT_EQ(lines[2]["records"], 2);
  EXPECT_EQ(lines[2]["residues"], 8);
  std::size_t shards = 0;
  for (const auto& file : result_files(folder / "out")) shards += file.first.ends_with(".h5") ? 1 : 0;
  EXPECT_EQ(lines[2]["shards"], shards);
  for (const auto& line : lines) {
    EXPECT_EQ(line["ranks"], 2);
    EXPECT_EQ(line["attempt"], 1);
    EXPECT_GE(line["seconds"], 0.0);
  }
}

}  // namespace
}  // namespace lsd
