// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "lsd/io/embedding_reader.h"
#include "lsd/io/embedding_writer.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lsd::io {
namespace {

using lsd::testing::expect_error;
using lsd::testing::TemporaryFolder;

EmbeddingIdentity identity_of(EmbeddingKind kind, std::int64_t width, const std::string& element = "float32") {
  return {.kind = kind,
          .element = element,
          .width = width,
          .specials = true,
          .weights = "w0",
          .source = "s0",
          .packing = "p0"};
}

std::vector<float> values_from(float first, std::size_t count) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = first + static_cast<float>(i);
  return values;
}

EmbeddingMoments moments_of(std::int64_t count, std::int64_t width, double mean) {
  const auto size = static_cast<std::size_t>(width);
  return {
      .count = count, .mean = std::vector<double>(size, mean), .squared_deviations = std::vector<double>(size, 2.0)};
}

// Two parts of a residues dump of width 3: records of 3, 4 | 5 rows.
EmbeddingManifest write_small_dump(const std::filesystem::path& folder) {
  const auto identity = identity_of(EmbeddingKind::residues, 3);
  EmbeddingManifest manifest{.identity = identity};
  {
    EmbeddingWriter writer(folder, identity, {.count = 2, .offsets = {0, 3, 7}, .ids = {"a", "bb"}, .residues = 3});
    const auto rows = values_from(0, 21);
    writer.append(std::as_bytes(std::span(rows).first(9)));
    writer.append(std::as_bytes(std::span(rows).subspan(9)));
    manifest.parts.push_back(writer.finish(moments_of(3, 3, 1.0), 0));
    manifest.moments.add(moments_of(3, 3, 1.0));
  }
  EmbeddingWriter writer(folder, identity,
                         {.index = 1, .count = 2, .first_record = 2, .offsets = {0, 5}, .ids = {"c|x"}, .residues = 3});
  const auto rows = values_from(100, 15);
  writer.append(std::as_bytes(std::span(rows)));
  manifest.parts.push_back(writer.finish(moments_of(1, 3, 5.0), 2));
  manifest.moments.add(moments_of(1, 3, 5.0));
  write_embedding_manifest(folder, manifest);
  return manifest;
}

float value_at(std::span<const std::byte> rows, std::size_t index) {
  return reinterpret_cast<const float*>(rows.data())[index];
}

TEST(Embeddings, RowsComeBackByRecord) {
  const TemporaryFolder folder;
  write_small_dump(folder.path());
  const EmbeddingReader reader(folder.path());

  EXPECT_EQ(reader.size(), 3);
  EXPECT_EQ(reader.width(), 3);
  EXPECT_EQ(reader.id(1), "bb");
  EXPECT_EQ(reader.id(2), "c|x");
  EXPECT_EQ(reader.tokens(1), 4);
  EXPECT_EQ(value_at(reader.rows(0, 0, 3), 0), 0.0F);
  EXPECT_EQ(value_at(reader.rows(1, 1, 2), 0), 12.0F);  // row 3 + 1
  EXPECT_EQ(reader.rows(1, 1, 2).size(), 2U * 3U * 4U);
  EXPECT_EQ(value_at(reader.rows(2, 4, 1), 2), 114.0F);
  EXPECT_EQ(reader.manifest().overflows(), 2);
  reader.verify();
}

// Groups {mean 1, 3 values, m2 2} and {mean 5, 1 value, m2 2}: mean 2, m2 = 4 + 16 * 3 / 4 = 16, variance 4.
TEST(Embeddings, MomentsCombine) {
  const TemporaryFolder folder;
  write_small_dump(folder.path());
  const auto moments = read_embedding_manifest(folder.path()).moments;
  EXPECT_EQ(moments.count, 4);
  EXPECT_DOUBLE_EQ(moments.mean[1], 2.0);
  EXPECT_DOUBLE_EQ(moments.variance()[2], 4.0);
}

TEST(Embeddings, EqualContentGivesEqualBytes) {
  const TemporaryFolder one, two;
  write_small_dump(one.path());
  write_small_dump(two.path());
  for (const auto* name : {"part-00000-of-00002.h5", "part-00001-of-00002.h5", "manifest.json"}) {
    EXPECT_EQ(read_text_file(one / name), read_text_file(two / name)) << name;
  }
}

// h5py, not our reader: names, types and numbers as docs/formats/embeddings.md promises them.
TEST(Embeddings, PythonReadsThem) {
  const TemporaryFolder folder;
  write_small_dump(folder.path());
  const auto script = std::filesystem::path(LSD_TESTS_FOLDER) / "io" / "read_embeddings.py";
  EXPECT_EQ(std::system((std::string(LSD_PYTHON) + " " + script.string() + " " + folder.path().string()).c_str()), 0);
}

TEST(Embeddings, Float16RowsAreIeeeHalves) {
  const TemporaryFolder folder;
  const auto identity = identity_of(EmbeddingKind::residues, 2, "float16");
  EmbeddingWriter writer(folder.path(), identity, {.count = 1, .offsets = {0, 2}, .ids = {"a"}});
  const std::vector<std::uint16_t> halves = {0x3C00, 0xC000, 0x7C00, 0x0001};  // 1, -2, infinity, 2^-24
  writer.append(std::as_bytes(std::span(halves)));
  const auto part = writer.finish(moments_of(2, 2, 0.0), 1);
  const auto code =
      "import h5py, numpy, sys; x = h5py.File(sys.argv[1])['latents'][:]; assert x.dtype == numpy.float16; "
      "assert x.tolist() == [[1.0, -2.0], [float('inf'), 2.0 ** -24]], x";
  EXPECT_EQ(std::system((std::string(LSD_PYTHON) + " -c \"" + code + "\" " + (folder / part.name).string()).c_str()),
            0);
}

TEST(Embeddings, AWriterThatDoesNotFinishLeavesNothing) {
  const TemporaryFolder folder;
  {
    EmbeddingWriter writer(folder.path(), identity_of(EmbeddingKind::means, 2),
                           {.count = 1, .offsets = {0, 3}, .ids = {"a"}});
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  EmbeddingWriter writer(folder.path(), identity_of(EmbeddingKind::means, 2),
                         {.count = 1, .offsets = {0, 3}, .ids = {"a"}});
  EXPECT_THROW(writer.finish(moments_of(1, 2, 0.0), 0), InternalError);
  const auto two_rows = values_from(0, 4);
  EXPECT_THROW(writer.append(std::as_bytes(std::span(two_rows))), InternalError);
}

// A newer attempt may clear a partial file away right behind the question whether there is one.
TEST(Embeddings, APartialFileThatIsGoneIsANewerAttempts) {
  const TemporaryFolder folder;
  int questions = 0;
  EmbeddingWriter writer(folder.path(), identity_of(EmbeddingKind::moments, 1), {.count = 1, .offsets = {0}, .ids = {}},
                         {.partial = folder / "x.partial", .before_commit = [&] {
                            if (++questions > 1) throw SystemError("superseded by attempt 2");
                            std::filesystem::remove(folder / "x.partial");
                          }});
  expect_error<SystemError>([&] { writer.finish(moments_of(0, 1, 0.0), 0); }, {"superseded by attempt 2"});
}

TEST(Embeddings, EmptyPartsAndMomentsOnlyParts) {
  const TemporaryFolder folder;
  const auto identity = identity_of(EmbeddingKind::moments, 2);
  EmbeddingWriter writer(folder.path(), identity, {.count = 1, .offsets = {0}, .ids = {}});
  const auto part = writer.finish(moments_of(0, 2, 0.0), 0);
  const EmbeddingPartReader reader(folder / part.name);
  EXPECT_EQ(reader.entry().records, 0);
  EXPECT_EQ(reader.entry().checksum, part.checksum);
}

void flip_byte(const std::filesystem::path& file, std::int64_t from_end) {
  std::string bytes = read_text_file(file);
  auto& byte = bytes[bytes.size() - static_cast<std::size_t>(from_end)];
  byte = static_cast<char>(byte ^ 0x20);
  std::ofstream(file, std::ios::binary) << bytes;
}

// A dump whose rows take several checksum blocks: damage in one block is found when that block is read, not before.
TEST(Embeddings, ADamagedBlockIsFoundWhenItIsRead) {
  const TemporaryFolder folder;
  const auto identity = identity_of(EmbeddingKind::residues, 256);
  constexpr std::size_t kRows = 3000;  // 3 MB: blocks of 1024 rows
  EmbeddingManifest manifest{.identity = identity, .moments = moments_of(1, 256, 0.0)};
  {
    EmbeddingWriter writer(folder.path(), identity, {.count = 1, .offsets = {0, kRows}, .ids = {"long"}});
    const auto rows = values_from(0.5F, kRows * 256);
    writer.append(std::as_bytes(std::span(rows)));
    manifest.parts.push_back(writer.finish(moments_of(1, 256, 0.0), 0));
  }
  write_embedding_manifest(folder.path(), manifest);
  const auto file = folder / manifest.parts[0].name;
  std::string bytes = read_text_file(file);
  const float marker = 0.5F + 2100.0F * 256.0F;
  const auto place = bytes.find(std::string(reinterpret_cast<const char*>(&marker), 4));
  ASSERT_NE(place, std::string::npos);
  bytes[place] = static_cast<char>(bytes[place] ^ 1);
  std::ofstream(file, std::ios::binary) << bytes;

  const EmbeddingReader reader(folder.path());
  EXPECT_EQ(value_at(reader.rows(0, 0, 2000), 0), 0.5F);
  expect_error<DataError>([&] { reader.rows(0, 2050, 1); },
                          {file.string(), "block 2", "latents", "run lsd_dump_latents again"});
  expect_error<DataError>([&] { reader.verify(); }, {"block 2"});
}

TEST(Embeddings, RefusesDamagedAndForeignFiles) {
  const TemporaryFolder folder;
  const auto manifest = write_small_dump(folder.path());
  const auto part = folder / manifest.parts[1].name, other = folder / manifest.parts[0].name;
  const std::string good = read_text_file(part);

  std::ofstream(part, std::ios::binary) << good.substr(0, good.size() - 100);
  expect_error<DataError>([&] { EmbeddingReader reader(folder.path()); }, {part.string()});
  std::ofstream(part, std::ios::binary) << "plain text";
  expect_error<DataError>([&] { EmbeddingReader reader(folder.path()); }, {part.string(), "HDF5"});
  std::filesystem::remove(part);
  expect_error<DataError>([&] { EmbeddingReader reader(folder.path()); }, {part.string(), "missing"});
  std::filesystem::copy_file(other, part);
  expect_error<DataError>([&] { EmbeddingReader reader(folder.path()); },
                          {part.string(), "not the file that the manifest"});
  for (const std::int64_t from_end : {1, 200, 2000, 3000}) {
    std::ofstream(part, std::ios::binary) << good;
    flip_byte(part, from_end);
    EXPECT_NE(read_text_file(part), good);
    try {
      EmbeddingReader(folder.path()).verify();
      // What is left unseen must be padding: rows and tables are covered by checksums.
      EXPECT_EQ(value_at(EmbeddingReader(folder.path()).rows(2, 0, 5), 0), 100.0F);
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr(part.string()));
    }
  }
}

TEST(Embeddings, RefusesDamagedManifests) {
  const TemporaryFolder folder;
  expect_error<DataError>([&] { read_embedding_manifest(folder.path()); }, {"manifest.json", "no finished dump"});
  write_small_dump(folder.path());
  const auto path = folder / "manifest.json";
  const std::string good = read_text_file(path);
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    std::ofstream(path, std::ios::binary) << text;
  };
  std::ofstream(path, std::ios::binary) << good.substr(0, good.size() / 2);
  expect_error<DataError>([&] { read_embedding_manifest(folder.path()); }, {path.string(), "damaged"});
  replaced("\"version\": 1", "\"version\": 9");
  expect_error<DataError>([&] { read_embedding_manifest(folder.path()); }, {"version 9", "reads version 1"});
  replaced("\"weights\": \"w0\"", "\"weights\": \"w1\"");
  expect_error<DataError>([&] { read_embedding_manifest(folder.path()); }, {"fingerprint"});
  replaced("\"first_record\": 2", "\"first_record\": 3");
  expect_error<DataError>([&] { read_embedding_manifest(folder.path()); }, {"does not follow"});
}

}  // namespace
}  // namespace lsd::io
