// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/fasta_reader.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "fasta_support.h"
#include "lsd/core/error.h"
#include "lsd/core/philox.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lsd::data {
namespace {

using testing::expect_error;
using testing::read_all;
using testing::Records;
using testing::TemporaryFolder;
using testing::write_bytes;

class FastaReaderTest : public ::testing::Test {
 protected:
  std::string file(std::string_view bytes) { return write_bytes(folder_ / "a.fasta", bytes); }
  Records records_of(std::string_view bytes) { return read_all(file(bytes), {}, &counts_); }
  void expect_refused(std::string_view bytes, std::initializer_list<std::string> words) {
    const auto path = file(bytes);
    expect_error<DataError>([&] { read_all(path); }, words);
  }

  TemporaryFolder folder_;
  FastaCounts counts_;
};

const Records kTwo = {{"a", "MKV"}, {"b", "LLL"}};

TEST_F(FastaReaderTest, LineEndsOfEveryKindGiveTheSameRecords) {
  EXPECT_EQ(records_of(">a x\nMK\nV\n>b\nLLL\n"), kTwo);
  EXPECT_EQ(counts_.carriage_returns, 0);
  EXPECT_EQ(counts_.missing_final_line_end, 0);
  EXPECT_EQ(records_of(">a x\r\nMK\r\nV\r\n>b\r\nLLL\r\n"), kTwo);
  EXPECT_EQ(counts_.carriage_returns, 5);
  EXPECT_EQ(counts_.empty_lines, 0);
  EXPECT_EQ(records_of(">a x\rMK\rV\r>b\rLLL\r"), kTwo);
  EXPECT_EQ(counts_.carriage_returns, 5);
  EXPECT_EQ(records_of(">a x\nMK\nV\n>b\nLLL"), kTwo);
  EXPECT_EQ(counts_.missing_final_line_end, 1);
}

TEST_F(FastaReaderTest, ByteOrderMarkAndEmptyLinesArePassedOverAndCounted) {
  EXPECT_EQ(records_of("\xEF\xBB\xBF>a\nMK\n\nV\n\n>b\n\nLLL\n\n"), kTwo);
  EXPECT_EQ(counts_.byte_order_marks, 1);
  EXPECT_EQ(counts_.empty_lines, 4);
  EXPECT_EQ(records_of("\n \n>a\nMKV\n>b\nLLL\n"), kTwo);
  EXPECT_EQ(counts_.empty_lines, 2);
}

TEST_F(FastaReaderTest, EmptyRecordsAndHeadersAtTheEndAreRecords) {
  EXPECT_EQ(records_of(">a\n>b\nL\n>c"), (Records{{"a", ""}, {"b", "L"}, {"c", ""}}));
}

TEST_F(FastaReaderTest, NonAsciiHeadersAreCounted) {
  EXPECT_EQ(records_of(">a prot\xC3\xA9ine\nMKV\n>b\nLLL\n"), kTwo);
  EXPECT_EQ(counts_.non_ascii_headers, 1);
}

TEST_F(FastaReaderTest, OneVeryLongLine) {
  std::string text = ">titin\n", letters;
  for (int i = 0; i < 35000; ++i) letters += "LAGVSERTIDPKQNFYMHWC"[i * 7 % 20];
  EXPECT_EQ(records_of(text + letters), (Records{{"titin", letters}}));
}

TEST_F(FastaReaderTest, RefusesWhatIsNoFasta) {
  expect_error<DataError>([&] { read_all((folder_ / "missing.fasta").string()); }, {"missing.fasta", "No such file"});
  expect_error<DataError>([&] { read_all(folder_.path().string()); }, {"folder"});
  expect_refused("", {"a.fasta", "empty"});
  expect_refused("\n\n", {"a.fasta", "no record"});
  expect_refused("\nMKV\n>a\nMKV\n", {"a.fasta, line 2", "before the first header", "MKV"});
  expect_refused("@read1\nACGT\n+\nIIII\n", {"FASTQ", "line 1"});
  expect_refused("\xEF\xBB\xBFMKV\n", {"before the first header"});
  expect_refused(std::string_view("\0\0\0\0", 4), {"before the first header", "\\x00"});
  expect_refused("\xFF\xFE>\0a\0", {"UTF-16"});
  expect_refused("BZh91AY&SY", {"bzip2"});
  expect_refused(
      "\xFD"
      "7zXZ",
      {"xz"});
  expect_refused("PK\x03\x04 junk", {"zip"});
  const auto tar = "proteins.fasta" + std::string(243, '\0') + "ustar  " + std::string(248, '\0') + ">a\nMKV\n";
  expect_refused(tar, {"a.fasta is a tar archive", "tar -xf"});
}

TEST_F(FastaReaderTest, RefusesHeadersWithoutAUsableId) {
  expect_refused(">a\nMK\n>\nLLL\n", {"a.fasta, record 2", "line 3", "no id"});
  expect_refused(">  \nLLL\n", {"record 1", "no id"});
  expect_refused(std::string_view(">a\0b\nLLL\n", 9), {"record 1", "line 1", "control character"});
  expect_refused(std::string_view(">a b\0c\nLLL\n", 11), {"record 1", "line 1", "the header holds a NUL byte"});
  expect_refused(">" + std::string(2 << 20, 'x') + "\nMK\n", {"header is longer than 1 MiB"});
}

// A generated file of 3,000 records, enough for several blocks.
std::string large_text(std::string_view line_end) {
  std::string text;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    text += fmt::format(">P{} thing{}", i, line_end);
    const auto length = random_word(random_key(5, RandomStream::sample), 0, i) % 400;
    for (std::uint64_t at = 0; at < length; at += 60) {
      for (auto end = std::min(at + 60, std::uint64_t{length}), j = at; j < end; ++j)
        text +=
            "LAGVSERTIDPKQNFYMHWC"[random_word(random_key(6, RandomStream::sample), static_cast<std::uint32_t>(j), i) %
                                   20];
      text += line_end;
    }
  }
  return text;
}

TEST_F(FastaReaderTest, PartsOfAFileYieldEveryRecordOnce) {
  for (const std::string_view line_end : {"\n", "\r\n", "\r"}) {
    const auto text = large_text(line_end);
    const auto path = file(text);
    FastaCounts whole_counts;
    const auto whole = read_all(path, {}, &whole_counts);
    ASSERT_EQ(whole.size(), 3000U);
    for (const std::uint64_t parts : {2, 3, 17}) {
      Records joined;
      FastaCounts sum;
      for (std::uint64_t part = 0; part < parts; ++part) {
        FastaCounts counts;
        const ByteRange range{text.size() * part / parts,
                              part + 1 == parts ? ByteRange{}.end : text.size() * (part + 1) / parts};
        const auto records = read_all(path, range, &counts);
        joined.insert(joined.end(), records.begin(), records.end());
        sum.carriage_returns += counts.carriage_returns;
        sum.empty_lines += counts.empty_lines;
      }
      EXPECT_TRUE(joined == whole) << parts;
      EXPECT_EQ(sum.carriage_returns, whole_counts.carriage_returns);
      EXPECT_EQ(sum.empty_lines, whole_counts.empty_lines);
    }
  }
}

TEST_F(FastaReaderTest, EveryCutOfASmallFileIsRight) {
  for (const std::string_view text :
       {">a x>y\nMK\nV\n\n>b\nLLL\n>c\n>d\nM", ">a\r\nMK\r\n>b\r\n\r\nLL\r\n", ">a\rMK\r>b\r\rLL"}) {
    const auto path = file(text);
    const auto whole = read_all(path);
    for (std::uint64_t cut = 1; cut < text.size(); ++cut) {
      auto joined = read_all(path, {0, cut});
      const auto rest = read_all(path, {cut, ByteRange{}.end});
      joined.insert(joined.end(), rest.begin(), rest.end());
      EXPECT_EQ(joined, whole) << "cut at " << cut;
    }
  }
}

TEST_F(FastaReaderTest, PlacesInAPartCountFromTheStartOfTheFile) {
  const auto path = file(">a\r\nMK\r\n\r\n>b\r\nLL\r\n>c\r\nV\r\n>d\r\nMMM\r\n");
  FastaReader reader(path, {24, ByteRange{}.end});
  FastaRecord record;
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(record.id, "d");
  EXPECT_EQ(reader.place(record), path + ", record 4 ('d'), line 8");
  EXPECT_EQ(reader.place(record, record.line + 1), path + ", record 4 ('d'), line 9");
}

}  // namespace
}  // namespace lsd::data
