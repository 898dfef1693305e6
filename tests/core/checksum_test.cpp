// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/checksum.h"

#include <gtest/gtest.h>

#include <vector>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "support/temporary_folder.h"

namespace lsd {
namespace {

// Values of the xxHash specification's own test vectors (XXH3 64 bits, seed 0).
TEST(Checksum, EqualsThePublishedValues) {
  EXPECT_EQ(checksum64(std::string_view{}), 0x2D06800538D394C2U);
  EXPECT_EQ(checksum_hex(checksum64(std::string_view{})), "2d06800538d394c2");
}

TEST(Checksum, HexHasSixteenDigits) {
  EXPECT_EQ(checksum_hex(0), "0000000000000000");
  EXPECT_EQ(checksum_hex(0x0123456789ABCDEFU), "0123456789abcdef");
}

TEST(Checksum, PiecesGiveTheValueOfTheWhole) {
  std::vector<std::byte> bytes(100'000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31 % 251);
  for (const std::size_t piece : {1UL, 7UL, 240UL, 4096UL, 99'999UL}) {
    ChecksumStream stream;
    for (std::size_t at = 0; at < bytes.size(); at += piece)
      stream.add(std::span(bytes).subspan(at, std::min(piece, bytes.size() - at)));
    EXPECT_EQ(stream.value(), checksum64(bytes)) << piece;
  }
}

TEST(Checksum, OneFlippedBitChangesIt) {
  std::vector<std::byte> bytes(1000);
  const auto before = checksum64(bytes);
  bytes[617] ^= std::byte{4};
  EXPECT_NE(checksum64(bytes), before);
}

TEST(Checksum, OfAFileIsThatOfItsBytes) {
  const testing::TemporaryFolder folder;
  const std::string text(3'000'000, 'x');
  write_file_atomically(folder / "file", text);
  EXPECT_EQ(checksum_of_file(folder / "file"), checksum64(text));
  EXPECT_THROW(checksum_of_file(folder / "none"), DataError);
}

}  // namespace
}  // namespace lsd
