// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "fasta_support.h"
#include "lsd/core/philox.h"

namespace lsd::data {
namespace {

using ::testing::ElementsAre;

TEST(Tokenizer, LettersHaveTheIdsOfEsm2) {
  SequenceBuilder builder;
  builder.append("LAGVSERTIDPKQNFYMHWCXBUZO", 1);
  std::vector<std::uint8_t> expected;
  for (std::uint8_t id = 4; id <= 28; ++id) expected.push_back(id);
  EXPECT_EQ(std::vector<std::uint8_t>(builder.tokens().begin(), builder.tokens().end()), expected);
  EXPECT_EQ(builder.odd().lower_case + builder.odd().unknown + builder.odd().other, 0);
}

TEST(Tokenizer, AHandWorkedProtein) {
  SequenceBuilder builder;
  builder.append("MKV", 1);
  builder.append("jx*", 2);
  builder.finish();
  // M 20, K 15, V 7; j is upper-cased and becomes X 24; x is X.
  EXPECT_THAT(builder.tokens(), ElementsAre(20, 15, 7, 24, 24));
  EXPECT_EQ(builder.odd().lower_case, 2);
  EXPECT_EQ(builder.odd().unknown, 1);
  EXPECT_EQ(builder.odd().final_stops, 1);
  EXPECT_EQ(builder.odd().inner_stops, 0);
}

// Every byte value at every place of lines of many lengths: both ways agree on what is plain, and on the tokens.
TEST(Tokenizer, VectorAndPortableWaysAgree) {
  for (std::size_t length = 0; length <= 130; ++length) {
    for (unsigned byte = 0; byte < 256; byte += (length < 40 || length > 60) ? 7 : 1) {
      std::string line(length, 'A');
      for (std::size_t i = 0; i < length; ++i) line[i] = "LAGVSERTIDPKQNFYMHWCXBUZO"[(i * 7 + byte) % 25];
      if (length > 0) line[(byte * 31) % length] = static_cast<char>(byte);
      std::vector<std::uint8_t> fast(length + 1, 0xEE), plain(length + 1, 0xEE);
      ASSERT_EQ(tokenize_plain_line(line, fast.data()), tokenize_plain_line_portable(line, plain.data()))
          << length << " " << byte;
      if (tokenize_plain_line_portable(line, plain.data())) {
        EXPECT_EQ(fast, plain);
      }
      EXPECT_EQ(fast[length], 0xEE) << "wrote behind the line";
    }
  }
}

TEST(Tokenizer, LineEndsAreFoundAtEveryPlace) {
  for (std::size_t length = 0; length <= 100; ++length) {
    for (std::size_t at = 0; at <= length; ++at) {
      for (const char end : {'\n', '\r'}) {
        std::string text(length, 'A');
        if (at < length) text[at] = end;
        ASSERT_EQ(find_line_end(text.data(), text.data() + length) - text.data(), static_cast<std::ptrdiff_t>(at));
      }
    }
  }
}

TEST(Tokenizer, StopsAreFinalOnlyWhenNoResidueFollows) {
  SequenceBuilder builder;
  builder.append("MK*", 3);
  builder.append("**", 4);
  builder.append("  ", 5);
  builder.append("V*", 6);
  builder.finish();
  EXPECT_THAT(builder.tokens(), ElementsAre(20, 15, 7));
  EXPECT_EQ(builder.odd().inner_stops, 3);
  EXPECT_EQ(builder.odd().final_stops, 1);
  EXPECT_EQ(builder.odd().blanks, 2);
  EXPECT_EQ(builder.first_inner_stop().line, 3);
}

TEST(Tokenizer, OddBytesAreCountedByKindWithTheirFirstPlace) {
  SequenceBuilder builder;
  builder.append("MK-V.", 7);
  builder.append(std::string_view("1\0K\xC3\xA9", 5), 8);
  builder.finish();
  EXPECT_THAT(builder.tokens(), ElementsAre(20, 15, 7, 15));
  EXPECT_EQ(builder.odd().gaps, 2);
  EXPECT_EQ(builder.first_gap().line, 7);
  EXPECT_EQ(builder.first_gap().byte, '-');
  EXPECT_EQ(builder.odd().other, 4);
  EXPECT_EQ(builder.first_other().line, 8);
  EXPECT_EQ(builder.first_other().byte, '1');
  builder.clear();
  EXPECT_EQ(builder.odd().other + builder.first_gap().line, 0);
  EXPECT_TRUE(builder.tokens().empty());
}

TEST(Tokenizer, OneLetterAtATimeGivesTheSame) {
  const std::string text = "MKVAJ*lkt-W";
  SequenceBuilder whole, pieces;
  whole.append(text, 1);
  for (const char letter : text) pieces.append({&letter, 1}, 1);
  EXPECT_EQ(testing::letters_of(whole.tokens()), testing::letters_of(pieces.tokens()));
  EXPECT_EQ(whole.odd().inner_stops, pieces.odd().inner_stops);
}

}  // namespace
}  // namespace lsd::data
