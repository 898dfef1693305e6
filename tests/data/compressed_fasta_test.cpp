// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zstd.h>

#include <memory>

#include "fasta_support.h"
#include "lsd/core/error.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lsd::data {
namespace {

using testing::expect_error;
using testing::gzip_member;
using testing::read_all;
using testing::Records;
using testing::TemporaryFolder;
using testing::write_bytes;

// `count` records with text that compresses neither well nor badly.
std::string text_of(int first, int count) {
  std::string text;
  std::uint32_t state = static_cast<std::uint32_t>(first) + 1;
  for (int i = first; i < first + count; ++i) {
    text += fmt::format(">P{} some protein n=1\n", i);
    for (int at = 0; at < 200; ++at) {
      state = state * 1664525U + 1013904223U;
      text += "LAGVSERTIDPKQNFYMHWC"[(state >> 16U) % 20];
      if (at % 60 == 59) text += '\n';
    }
    text += '\n';
  }
  return text;
}

std::string zstd_frame(std::string_view text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  const std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  out.resize(ZSTD_compress2(context.get(), out.data(), out.size(), text.data(), text.size()));
  return out;
}

class CompressedFasta : public ::testing::Test {
 protected:
  std::string file(std::string_view bytes) { return write_bytes(folder_ / "a.fasta", bytes); }
  void expect_refused(std::string_view bytes, std::initializer_list<std::string> words) {
    const auto path = file(bytes);
    expect_error<DataError>([&] { read_all(path); }, words);
  }

  TemporaryFolder folder_;
};

TEST_F(CompressedFasta, GzipAndZstdGiveWhatPlainTextGives) {
  const auto text = text_of(0, 20000);  // 4.5 MB: many blocks and refills
  const auto plain = read_all(file(text));
  ASSERT_EQ(plain.size(), 20000U);
  for (const int level : {0, 1, 6, 9}) EXPECT_TRUE(read_all(file(gzip_member(text, level))) == plain) << level;
  EXPECT_TRUE(read_all(file(zstd_frame(text))) == plain);
}

TEST_F(CompressedFasta, MembersAndFramesFollowEachOtherAndMayCutLines) {
  const auto text = text_of(0, 3000);
  const auto plain = read_all(file(text));
  std::string gzip, zstd, bgzf_like;
  const std::size_t step = 7919;
  for (std::size_t at = 0; at < text.size(); at += step) {
    gzip += gzip_member(text.substr(at, step));
    zstd += zstd_frame(text.substr(at, step));
  }
  EXPECT_TRUE(read_all(file(gzip)) == plain);
  EXPECT_TRUE(read_all(file(gzip + gzip_member(""))) == plain);
  EXPECT_TRUE(read_all(file(gzip + std::string(1000, '\0'))) == plain) << "zeros behind the last member are padding";
  const std::string skippable("\x50\x2A\x4D\x18\x04\x00\x00\x00junk", 12);
  EXPECT_TRUE(read_all(file(skippable + zstd)) == plain);
}

// Members with name, comment, extra field and header checksum, as other tools write them.
TEST_F(CompressedFasta, GzipHeadsWithOptionalFields) {
  auto member = gzip_member(">a\nMKV\n");
  const std::string body = member.substr(10);
  std::string head = member.substr(0, 10);
  head[3] = 0x04 | 0x08 | 0x10;
  head += std::string("\x06\x00XY\x02\x00zz", 8) + std::string("name.fasta\0", 11) + std::string("comment\0", 8);
  EXPECT_EQ(read_all(file(head + body)), (Records{{"a", "MKV"}}));
  EXPECT_EQ(read_all(file(head + body + head + gzip_member(">b\nLL\n").substr(10))),
            (Records{{"a", "MKV"}, {"b", "LL"}}));
}

TEST_F(CompressedFasta, TheNameOfAFileSaysNothing) {
  const Records one = {{"a", "MKV"}};
  EXPECT_EQ(read_all(write_bytes(folder_ / "plain.fasta.gz", ">a\nMKV\n")), one);
  EXPECT_EQ(read_all(write_bytes(folder_ / "plain.fasta.zst", ">a\nMKV\n")), one);
  EXPECT_EQ(read_all(write_bytes(folder_ / "really_gzip.txt", gzip_member(">a\nMKV\n"))), one);
  EXPECT_EQ(read_all(write_bytes(folder_ / "x.gz", zstd_frame(">a\nMKV\n"))), one);
}

TEST_F(CompressedFasta, GzipCutAnywhereIsRefused) {
  const auto member = gzip_member(text_of(0, 4));
  for (std::size_t length = 2; length < member.size(); ++length) expect_refused(member.substr(0, length), {"a.fasta"});
  expect_refused(member.substr(0, member.size() / 2), {"cut short"});
  expect_refused(member + member.substr(0, member.size() / 2), {"cut short", "member 2"});
}

TEST_F(CompressedFasta, GzipWithAFlippedBitIsRefused) {
  const auto member = gzip_member(text_of(0, 40));
  int refused = 0;
  for (std::size_t at = 10; at < member.size(); at += 97) {
    auto damaged = member;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    expect_refused(damaged, {"a.fasta", "member 1"});
    ++refused;
  }
  EXPECT_GT(refused, 10);
}

TEST_F(CompressedFasta, GarbageBehindTheDataIsRefused) {
  const auto member = gzip_member(text_of(0, 10));
  expect_refused(member + "garbage", {"a.fasta", "garbage", "member 1"});
  expect_refused(member + std::string(600000, '\0') + "x", {"garbage"});
  expect_refused(member + "\x1F\x8Bgarbage", {"a.fasta"});
  expect_refused(zstd_frame(text_of(0, 10)) + "garbage", {"a.fasta", "zstd"});
}

TEST_F(CompressedFasta, DamagedZstdIsRefused) {
  const auto frame = zstd_frame(text_of(0, 40));
  for (std::size_t length = 5; length < frame.size(); length += 13)
    expect_refused(frame.substr(0, length), {"a.fasta", "zstd"});
  auto damaged = frame;
  damaged[frame.size() / 2] = static_cast<char>(damaged[frame.size() / 2] ^ 1);
  expect_refused(damaged, {"a.fasta", "zstd"});
}

TEST_F(CompressedFasta, AnEmptyMemberHoldsNoRecord) {
  expect_refused(gzip_member(""), {"a.fasta", "no record"});
  expect_refused(gzip_member("a.fasta" + std::string(250, '\0') + "ustar" + std::string(250, '\0')), {"tar archive"});
}

// The record handed in may still hold what another file left in it.
TEST_F(CompressedFasta, MessagesNameOnlyPlacesInTheirOwnFile) {
  const auto message_of = [&](std::string_view bytes) {
    FastaRecord record;
    record.line = 39;
    try {
      FastaReader reader(file(bytes));
      while (reader.next(record)) {
      }
    } catch (const DataError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(message_of(gzip_member("")).find("while reading"), std::string::npos);
  const auto whole = gzip_member(text_of(0, 20000));  // several blocks, so that many records are read before the cut
  const auto message = message_of(whole.substr(0, whole.size() * 3 / 4));
  const auto at = message.find("while reading record ");
  ASSERT_NE(at, std::string::npos) << message;
  int number = 0, line = 0;
  ASSERT_EQ(
      std::sscanf(message.c_str() + at, "while reading record %d of %*s whose header is in line %d", &number, &line), 2)
      << message;
  EXPECT_GT(number, 1);
  EXPECT_EQ(line, 5 * number - 4);
}

TEST_F(CompressedFasta, AReaderMayBeLeftInTheMiddle) {
  FastaReader reader(file(gzip_member(text_of(0, 20000))));
  FastaRecord record;
  EXPECT_TRUE(reader.next(record));  // its thread is still inflating when the destructor comes
}

TEST_F(CompressedFasta, ReadsPipes) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const std::string bytes = gzip_member(">a\nMKV\n");
  ASSERT_EQ(::write(ends[1], bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  ::close(ends[1]);
  EXPECT_EQ(read_all(fmt::format("/dev/fd/{}", ends[0])), (Records{{"a", "MKV"}}));
  ::close(ends[0]);
}

}  // namespace
}  // namespace lsd::data
