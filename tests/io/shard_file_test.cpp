// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "lsd/core/atomic_file.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/io/shard_reader.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/write_shard.h"

namespace lsd::io {
namespace {

using testing::expect_error;
using testing::TemporaryFolder;
using testing::write_shard;

constexpr std::string_view kAlphabet =
    "<cls> <pad> <eos> <unk> L A G V S E R T I D P K Q N F Y M H W C X B U Z O . - <null_1> <mask>";

struct Tables {
  std::vector<std::uint8_t> tokens, ids;
  std::vector<std::uint64_t> offsets = {0}, id_offsets = {0}, numbers;

  void add(std::uint64_t number, std::string_view id, const std::vector<std::uint8_t>& residues) {
    numbers.push_back(number);
    tokens.insert(tokens.end(), residues.begin(), residues.end());
    ids.insert(ids.end(), id.begin(), id.end());
    offsets.push_back(tokens.size());
    id_offsets.push_back(ids.size());
  }
  ShardContent content() const {
    return {.tokens = tokens, .offsets = offsets, .record_numbers = numbers, .id_bytes = ids, .id_offsets = id_offsets};
  }
};

// Two small records and one of two million residues: two blocks.
Tables three_records() {
  Tables tables;
  tables.add(7, "UniRef50_P1", {20, 15, 7});
  tables.add(1, "b", {4, 28});
  std::vector<std::uint8_t> large(2000000);
  for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<std::uint8_t>(i % 25 + 4);
  tables.add(1000000000000, "caf\xC3\xA9", large);
  return tables;
}

const ShardIdentity kIdentity = {
    .split = "train", .index = 3, .count = 12, .fingerprint = "0123456789abcdef", .alphabet = std::string(kAlphabet)};

class ShardFile : public ::testing::Test {
 protected:
  ShardFile()
      : entry_(write_shard(folder_.path(), kIdentity, three_records().content())), path_(folder_ / entry_.name) {}

  // Calls `use` on the file's bytes and writes them back.
  template <class Use>
  void damage(Use&& use) {
    auto bytes = read_text_file(path_);
    use(bytes);
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes;
  }
  std::size_t place_of_tokens() const {
    const ShardReader reader(path_);
    const auto bytes = read_text_file(path_);
    const std::string start(reinterpret_cast<const char*>(reader.content().tokens.data()), 64);
    return bytes.find(start);
  }

  TemporaryFolder folder_;
  ShardEntry entry_;
  std::filesystem::path path_;
};

// The older of two jobs on one folder: what it wrote aside is gone or stays aside, what stands there stays.
TEST_F(ShardFile, ASupersededWriterPutsNothingInPlace) {
  const TemporaryFolder folder;
  ShardWriter older(folder.path(), kIdentity, {0, 0, 0}, Attempt::begin(folder.path()));
  const auto newer = Attempt::begin(folder.path());
  newer.remove_older_partials(folder.path());
  expect_error<SystemError>([&] { older.finish(); }, {"superseded by attempt 2", "train-00003-of-00012.h5"});
  EXPECT_FALSE(std::filesystem::exists(folder / shard_name("train", 3, 12)));
  ShardWriter(folder.path(), kIdentity, {0, 0, 0}, newer).finish();
  EXPECT_EQ(ShardReader(folder / shard_name("train", 3, 12)).records(), 0);
}

TEST_F(ShardFile, HoldsWhatWasWritten) {
  EXPECT_EQ(entry_.name, "train-00003-of-00012.h5");
  EXPECT_EQ(entry_.records, 3);
  EXPECT_EQ(entry_.residues, 2000005);
  EXPECT_EQ(entry_.bytes, static_cast<std::int64_t>(std::filesystem::file_size(path_)));
  EXPECT_EQ(entry_.checksum, checksum_of_file(path_));
  const ShardReader reader(path_);
  EXPECT_EQ(reader.identity().split, "train");
  EXPECT_EQ(reader.identity().index, 3);
  EXPECT_EQ(reader.identity().alphabet, kAlphabet);
  EXPECT_EQ(reader.id(0), "UniRef50_P1");
  EXPECT_EQ(reader.tokens(1)[1], 28);
  EXPECT_EQ(reader.content().record_numbers[2], 1000000000000U);
  reader.verify(entry_.checksum);
}

TEST_F(ShardFile, IsReadByH5py) {
  const auto script = std::filesystem::path(LSD_TESTS_FOLDER) / "io" / "read_shard.py";
  const auto command =
      fmt::format("{} {} {} {}", LSD_PYTHON, script.string(), path_.string(), checksum_hex(entry_.checksum));
  EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST_F(ShardFile, EqualContentGivesEqualBytesAtAnotherTime) {
  const auto first = read_text_file(path_);
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // time stamps would count seconds
  const TemporaryFolder other;
  const auto entry = write_shard(other.path(), kIdentity, three_records().content());
  EXPECT_EQ(entry.checksum, entry_.checksum);
  EXPECT_TRUE(read_text_file(other / entry.name) == first);
}

TEST_F(ShardFile, AnEmptyShardIsAShard) {
  const TemporaryFolder other;
  const auto entry = write_shard(other.path(), kIdentity, Tables().content());
  const ShardReader reader(other / entry.name);
  EXPECT_EQ(reader.records(), 0);
  reader.verify(entry.checksum);
}

TEST_F(ShardFile, FlippedBitsInTheDataAreFoundWithTheirBlock) {
  const auto tokens = place_of_tokens();
  damage([&](std::string& bytes) { bytes[tokens + (1 << 20) + 5] ^= 1; });
  const ShardReader reader(path_);
  expect_error<DataError>([&] { reader.verify(entry_.checksum); },
                          {entry_.name, "block 1 of the table 'tokens'", "1048576", "restore"});
}

// A block is compared when it is first used; what is not used is not read.
TEST_F(ShardFile, FlippedBitsNeverEnterWhatIsRead) {
  const auto tokens = place_of_tokens();
  damage([&](std::string& bytes) { bytes[tokens + (1 << 20) + 5] ^= 1; });
  const ShardReader reader(path_);
  EXPECT_EQ(reader.tokens(0).size(), 3U);
  EXPECT_EQ(reader.length(2), 2000000);
  for (int tries = 0; tries < 2; ++tries)
    expect_error<DataError>([&] { reader.tokens(2); }, {entry_.name, "block 1 of the table 'tokens'", "restore"});
  damage([&](std::string& bytes) { bytes[bytes.find("UniRef50_P1")] ^= 1; });
  const ShardReader again(path_);
  expect_error<DataError>([&] { again.id(0); }, {"table 'id_bytes'"});
  EXPECT_EQ(again.record_number(1), 1U);
}

// Wherever a bit flips, opening or verifying says so, naming the file; nothing crashes.
TEST_F(ShardFile, NoFlippedBitGoesUnnoticed) {
  const auto whole = read_text_file(path_);
  std::vector<std::size_t> places;
  const auto tokens = place_of_tokens();
  for (std::size_t at = 0; at < whole.size(); at += (at > tokens && at + 60000 < tokens + 2000000) ? 50021 : 31)
    places.push_back(at);
  std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
  const auto put = [&](std::size_t at, char byte) { file.seekp(static_cast<std::streamoff>(at)).put(byte).flush(); };
  for (const auto at : places) {
    put(at, static_cast<char>(whole[at] ^ 0x20));
    expect_error<Error>([&] { ShardReader(path_).verify(entry_.checksum); }, {entry_.name});
    put(at, whole[at]);
  }
  ShardReader(path_).verify(entry_.checksum);
}

TEST_F(ShardFile, CutShortIsRefusedAtAnyLength) {
  const auto whole = read_text_file(path_);
  for (std::size_t length = 0; length < whole.size();
       length += length < 4096 || length + 4096 > whole.size() ? 61 : 100003) {
    damage([&](std::string& bytes) { bytes = whole.substr(0, length); });
    expect_error<DataError>([&] { ShardReader reader(path_); }, {entry_.name});
  }
}

TEST_F(ShardFile, WildOffsetsAreAnErrorAndNoCrash) {
  const auto bytes_before = read_text_file(path_);
  const std::uint64_t offset = 3;  // of record 1, between 0 and 5
  std::string pattern(reinterpret_cast<const char*>(&offset), 8);
  const auto at = bytes_before.find(std::string(8, '\0') + pattern);
  damage([&](std::string& bytes) { bytes[at + 8 + 6] = 0x7F; });
  const ShardReader reader(path_);
  expect_error<DataError>([&] { reader.tokens(0); }, {entry_.name, "block 0 of the table 'offsets'"});
  expect_error<DataError>([&] { reader.length(1); }, {"block 0 of the table 'offsets'"});
  expect_error<DataError>([&] { reader.verify(entry_.checksum); }, {"block 0 of the table 'offsets'"});
}

TEST_F(ShardFile, ForeignFilesAreRefused) {
  expect_error<DataError>([&] { ShardReader reader(folder_ / "missing.h5"); }, {"missing.h5", "is missing"});
  std::ofstream(folder_ / "text.h5") << ">a\nMKV\n";
  expect_error<DataError>([&] { ShardReader reader(folder_ / "text.h5"); }, {"text.h5", "HDF5"});
  std::ofstream(folder_ / "empty.h5").flush();
  expect_error<DataError>([&] { ShardReader reader(folder_ / "empty.h5"); }, {"empty.h5"});
}

TEST_F(ShardFile, AnotherVersionIsRefusedWithAdvice) {
  const auto command =
      fmt::format("{} -c \"import h5py, sys; f = h5py.File(sys.argv[1], 'r+'); f.attrs['version'] = 2\" {}", LSD_PYTHON,
                  path_.string());
  ASSERT_EQ(std::system(command.c_str()), 0);
  expect_error<DataError>([&] { ShardReader reader(path_); },
                          {entry_.name, "version 2", "reads version 1", "make the shards again"});
}

// A limit on the size of files stands for a full disk: the write fails in the same call.
TEST_F(ShardFile, AFullDiskIsAnErrorAndLeavesNothing) {
  const TemporaryFolder other;
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{.rlim_cur = 500000, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  expect_error<SystemError>([&] { write_shard(other.path(), kIdentity, three_records().content()); },
                            {"train-00003", "HDF5"});
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_TRUE(std::filesystem::is_empty(other.path()));
  write_shard(other.path(), kIdentity, three_records().content());
}

}  // namespace
}  // namespace lsd::io
