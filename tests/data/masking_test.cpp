// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/masking.h"

#include <gmock/gmock.h>

#include <cmath>
#include <vector>

#include "lsd/data/alphabet.h"

namespace lsd::data {
namespace {

using testing::Each;
using testing::ElementsAre;

TEST(Masking, ChoosesReplacesAndKeepsInTheStatedShares) {
  constexpr std::size_t length = 1000, visits = 400;
  std::int64_t chosen = 0, masked = 0, changed = 0;
  std::vector<std::int64_t> drawn(33, 0);
  for (std::size_t visit = 0; visit < visits; ++visit) {
    std::vector<std::int32_t> tokens(length, 7), targets(length, -7);
    const auto count = mask_sequence({}, 11, static_cast<std::int64_t>(visit), tokens, targets);
    chosen += count;
    std::int64_t seen = 0;
    for (std::size_t i = 0; i < length; ++i) {
      if (targets[i] < 0) {
        ASSERT_EQ(tokens[i], 7);
        continue;
      }
      ++seen;
      ASSERT_EQ(targets[i], 7);
      if (tokens[i] == kMask)
        ++masked;
      else if (tokens[i] != 7)
        ++changed;
      ++drawn[static_cast<std::size_t>(tokens[i])];
    }
    ASSERT_EQ(seen, count);
  }
  const auto n = static_cast<double>(length * visits);
  // Five standard deviations of the binomials.
  EXPECT_NEAR(static_cast<double>(chosen) / n, 0.15, 5 * std::sqrt(0.15 * 0.85 / n));
  const auto c = static_cast<double>(chosen);
  EXPECT_NEAR(static_cast<double>(masked) / c, 0.8, 5 * std::sqrt(0.16 / c));
  EXPECT_NEAR(static_cast<double>(changed) / c, 0.1 * 19 / 20, 5 * std::sqrt(0.09 / c));
  for (int token = kFirstAminoAcid; token <= kLastAminoAcid; ++token)
    EXPECT_GT(drawn[static_cast<std::size_t>(token)], 0);
  for (const int token : {0, 1, 2, 3, 24, 25, 26, 27, 28, 29, 30, 31})
    EXPECT_EQ(drawn[static_cast<std::size_t>(token)], 0);
}

TEST(Masking, IsAFunctionOfSeedVisitAndCoordinate) {
  std::vector<std::int32_t> original(200, 9), a = original, b = original, c = original, ta(200), tb(200), tc(200);
  mask_sequence({}, 1, 5, a, ta);
  mask_sequence({}, 1, 5, b, tb);
  mask_sequence({}, 1, 6, c, tc);
  EXPECT_EQ(a, b);
  EXPECT_EQ(ta, tb);
  EXPECT_NE(ta, tc);
  // A shorter sequence meets the same choices at the same coordinates.
  std::vector<std::int32_t> head(50, 9), th(50);
  mask_sequence({}, 1, 5, head, th);
  EXPECT_TRUE(std::equal(th.begin(), th.end(), ta.begin()));
}

TEST(Masking, NeverChoosesSpecialsOrX) {
  std::vector<std::int32_t> tokens{kCls, kUnknownResidue, 25, 26, 27, 28, kEos}, targets(7);
  EXPECT_EQ(mask_sequence({.probability = 1.0}, 1, 0, tokens, targets), 4);
  EXPECT_THAT(targets, ElementsAre(-1, -1, 25, 26, 27, 28, -1));
  EXPECT_EQ(tokens[0], kCls);
  EXPECT_EQ(tokens[1], kUnknownResidue);
  EXPECT_EQ(tokens[6], kEos);
}

TEST(TokenDropout, IsEsm2sFormula) {
  std::vector<float> scale(5);
  const std::vector<std::int32_t> tokens{kCls, 5, kMask, 7, kEos};  // 1 of 5 masked
  token_dropout_scale(tokens, scale);
  EXPECT_FLOAT_EQ(scale[0], 0.88F / 0.8F);
  EXPECT_EQ(scale[2], 0.0F);
  EXPECT_FLOAT_EQ(scale[4], 0.88F / 0.8F);
  token_dropout_scale(std::vector<std::int32_t>(5, 6), scale);
  EXPECT_THAT(scale, Each(testing::FloatEq(0.88F)));
  token_dropout_scale(std::vector<std::int32_t>(5, kMask), scale);
  EXPECT_THAT(scale, Each(0.0F));
}

}  // namespace
}  // namespace lsd::data
