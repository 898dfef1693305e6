// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/shard_set.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "support/write_shard.h"

namespace lsd::data {
namespace {

using testing::expect_error;
using testing::TemporaryFolder;

// Record i of shard s has s + i + 1 residues, all of token 4 + s, and the id "s<shard>r<record>".
io::ShardEntry write_one(const std::filesystem::path& folder, const std::string& split, std::int64_t index,
                         std::int64_t count, std::int64_t records, const std::string& fingerprint = "set1") {
  std::vector<std::uint8_t> tokens, ids;
  std::vector<std::uint64_t> offsets = {0}, id_offsets = {0}, numbers;
  for (std::int64_t record = 0; record < records; ++record) {
    tokens.insert(tokens.end(), static_cast<std::size_t>(index + record + 1), static_cast<std::uint8_t>(4 + index));
    const auto id = fmt::format("s{}r{}", index, record);
    ids.insert(ids.end(), id.begin(), id.end());
    offsets.push_back(tokens.size());
    id_offsets.push_back(ids.size());
    numbers.push_back(static_cast<std::uint64_t>(100 * index + record));
  }
  return testing::write_shard(
      folder, {.split = split, .index = index, .count = count, .fingerprint = fingerprint, .alphabet = alphabet_text()},
      {.tokens = tokens, .offsets = offsets, .record_numbers = numbers, .id_bytes = ids, .id_offsets = id_offsets});
}

class ShardSet : public ::testing::Test {
 protected:
  ShardSet() {
    manifest_.fingerprint = "set1";
    manifest_.alphabet = alphabet_text();
    manifest_.splits.resize(3);
    manifest_.splits[0].name = "train";
    for (int index = 0; index < 3; ++index)
      manifest_.splits[0].shards.push_back(write_one(folder_.path(), "train", index, 3, 4 - index));
    manifest_.splits[1] = {.name = "valid", .shards = {write_one(folder_.path(), "valid", 0, 1, 2)}};
    manifest_.splits[2].name = "test";
    io::write_manifest(folder_.path(), manifest_);
  }
  void expect_refused(std::initializer_list<std::string> words, std::string_view split = "train") {
    expect_error<DataError>([&] { open_shard_split(folder_.path(), split); }, words);
  }
  void edit_manifest(const std::string& from, const std::string& to) {
    auto text = read_text_file(folder_ / "manifest.json");
    const auto at = text.find(from);
    ASSERT_NE(at, std::string::npos);
    write_file_atomically(folder_ / "manifest.json", text.replace(at, from.size(), to));
  }

  TemporaryFolder folder_;
  io::ShardManifest manifest_;
};

TEST_F(ShardSet, NumbersRecordsThroughAllShards) {
  const auto split = open_shard_split(folder_.path(), "train");
  ASSERT_EQ(split->size(), 4 + 3 + 2);
  EXPECT_EQ(split->shards(), 3);
  EXPECT_EQ(split->id(0), "s0r0");
  EXPECT_EQ(split->id(3), "s0r3");
  EXPECT_EQ(split->id(4), "s1r0");
  EXPECT_EQ(split->id(8), "s2r1");
  EXPECT_EQ(split->record_number(6), 102U);
  EXPECT_EQ(split->length(5), 1 + 1 + 1);
  EXPECT_EQ(split->residues(8).size(), 4U);
  EXPECT_EQ(split->residues(8)[3], 6);
  EXPECT_EQ(split->residues_in_all(), (1 + 2 + 3 + 4) + (2 + 3 + 4) + (3 + 4));
  split->verify();
  EXPECT_EQ(open_shard_split(folder_.path(), "test")->size(), 0);
  expect_error<InternalError>([&] { split->residues(9); }, {"within its split"});
}

TEST_F(ShardSet, FingerprintsTellSplitsAndContentsApart) {
  const auto train = open_shard_split(folder_.path(), "train")->fingerprint();
  EXPECT_EQ(train, open_shard_split(folder_.path(), "train")->fingerprint());
  EXPECT_NE(train, open_shard_split(folder_.path(), "valid")->fingerprint());
}

TEST_F(ShardSet, TheManifestComesBackAsWritten) {
  manifest_.options = {{"split.seed", "1"}};
  manifest_.inputs = {{.name = "a.fasta", .encoding = "gzip", .bytes = 12, .counts = {{"read_records", 9}}}};
  manifest_.counts = {{"read_records", 9}};
  io::write_manifest(folder_.path(), manifest_);
  const auto back = io::read_manifest(folder_.path());
  EXPECT_EQ(back.options, manifest_.options);
  EXPECT_EQ(back.inputs[0].counts, manifest_.inputs[0].counts);
  EXPECT_EQ(back.split("train").shards[2].checksum, manifest_.splits[0].shards[2].checksum);
  EXPECT_EQ(back.split("train").records(), 9);
}

TEST_F(ShardSet, AMissingShardOfAnySplitIsNamed) {
  std::filesystem::remove(folder_ / manifest_.splits[1].shards[0].name);
  expect_refused({"valid-00000-of-00001.h5", "is missing"});
}

TEST_F(ShardSet, AShortenedShardIsNamed) {
  std::filesystem::resize_file(folder_ / "train-00001-of-00003.h5", 5000);
  expect_refused({"train-00001-of-00003.h5", "5000 bytes", "cut short"});
}

TEST_F(ShardSet, ShardsOfOtherSetsOrPlacesAreRefused) {
  manifest_.splits[0].shards[1] = write_one(folder_.path(), "train", 1, 3, 3, "set2");
  io::write_manifest(folder_.path(), manifest_);
  expect_refused({"train-00001-of-00003.h5", "another shard set", "set2", "set1"});
  write_one(folder_.path(), "train", 1, 3, 3);
  std::filesystem::rename(folder_ / "train-00000-of-00003.h5", folder_ / "x");
  std::filesystem::rename(folder_ / "train-00001-of-00003.h5", folder_ / "train-00000-of-00003.h5");
  std::filesystem::rename(folder_ / "x", folder_ / "train-00001-of-00003.h5");
  for (auto& shard : manifest_.splits[0].shards)
    shard.bytes = static_cast<std::int64_t>(std::filesystem::file_size(folder_ / shard.name));
  io::write_manifest(folder_.path(), manifest_);
  expect_refused({"train-00000-of-00003.h5", "mixed up"});
}

TEST_F(ShardSet, VerifyNamesTheDamagedShard) {
  auto path = folder_ / "train-00002-of-00003.h5";
  auto bytes = read_text_file(path);
  const auto at = bytes.find(std::string(7, '\x06'));
  ASSERT_NE(at, std::string::npos);
  bytes[at + 2] = 4;
  std::ofstream(path, std::ios::binary) << bytes;
  const auto split = open_shard_split(folder_.path(), "train");
  split->verify(0);
  split->verify(1);
  expect_error<DataError>([&] { split->verify(2); }, {"train-00002-of-00003.h5", "block 0", "tokens"});
  expect_error<DataError>([&] { split->verify(); }, {"train-00002-of-00003.h5"});
}

TEST_F(ShardSet, BadManifestsAreRefused) {
  expect_error<UserError>([&] { open_shard_split(folder_.path(), "training"); },
                          {"no split 'training'", "train, valid, test"});
  edit_manifest("\"version\": 1", "\"version\": 9");
  expect_refused({"manifest.json", "version 9", "reads version 1"});
  edit_manifest("\"version\": 9", "\"version\": 1");
  edit_manifest("\"records\": 9", "\"records\": 8");
  expect_refused({"manifest.json", "do not add up"});
  edit_manifest("\"records\": 8", "\"records\": \"many\"");
  expect_refused({"manifest.json", "damaged"});
  edit_manifest("lsd-shard", "lsd-other");
  expect_refused({"manifest.json", "not the manifest"});
  edit_manifest("{", "");
  expect_refused({"manifest.json", "damaged"});
  std::filesystem::remove(folder_ / "manifest.json");
  expect_refused({"manifest.json", "is missing", "no finished shard set"});
}

}  // namespace
}  // namespace lsd::data
