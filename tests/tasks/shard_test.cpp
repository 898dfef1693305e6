// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/shard.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <nlohmann/json.hpp>
#include <set>

#include "lsd/core/error.h"
#include "lsd/core/philox.h"
#include "lsd/data/alphabet.h"
#include "lsd/data/shard_set.h"
#include "lsd/data/sharding.h"
#include "shard_support.h"
#include "support/expect_error.h"
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
    for (std::size_t at = 0; at < record.letters.size(); at += 60) text += record.letters.substr(at, 60) + std::string(line_end);
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
  auto config = small_config({folder / "a.fasta", folder / "d.fasta.gz", folder / "b.fasta", folder / "c.fasta", folder / "e.fasta.gz"},
                             folder / "out1");
  config.records.dedupe = true;
  config.records.duplicate_ids = "drop_record";
  run_shard_on_threads(config, 1);
  const auto expected = result_files(folder / "out1");
  ASSERT_GE(expected.size(), 10U);
  for (const int ranks : {2, 3, 4, 7}) {
    SCOPED_TRACE(ranks);
    config.output.folder = folder / fmt::format("out{}", ranks);
    run_shard_on_threads(config, ranks);
    EXPECT_TRUE(result_files(config.output.folder) == expected);
  }
}

}  // namespace
}  // namespace lsd
