// SPDX-License-Identifier: Apache-2.0
// How the CUDA backend cuts work: every row and tile once, and memory for each piece.
#include "backends/cuda/launch_plans_internal.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace lsd::testing {
namespace {

using namespace backends::cuda;  // NOLINT: the names under test

TEST(CudaPlans, BlocksHoldEveryRowOnce) {
  for (const std::int64_t rows : {1, 3, 4, 31, 32, 33, 1000, 65'338, 65'536, 1'000'000})
    for (const std::int64_t columns : {1, 36, 512, 1280, 5120})
      for (const auto cut : {column_sum_blocks(rows, columns), group_sum_blocks(rows), segment_cut(rows, 9).cut}) {
        ASSERT_EQ(cut.begin(0), 0);
        ASSERT_EQ(cut.end(cut.blocks() - 1), rows);
        ASSERT_LE(cut.blocks(), 65'535) << "a grid's second dimension";
        for (std::int64_t b = 0; b < cut.blocks(); ++b) {
          ASSERT_LT(cut.begin(b), cut.end(b));
          ASSERT_EQ(cut.begin(b), b == 0 ? 0 : cut.end(b - 1));
        }
      }
}

// Walks rows as the kernels do: a piece is written once, lies in memory, and is found again by its sequence.
void expect_pieces(const std::vector<int>& lengths, int dead_rows) {
  std::vector<std::int64_t> offsets{0};
  for (const int length : lengths) offsets.push_back(offsets.back() + length);
  const auto sequences = static_cast<std::int64_t>(lengths.size());
  const auto segments = segment_cut(offsets.back() + dead_rows, sequences);
  std::set<std::int64_t> written;
  for (std::int64_t s = 0; s < sequences; ++s) {
    std::set<std::int64_t> expected;
    for (auto row = offsets[s]; row < offsets[s + 1]; ++row) expected.insert(row / segments.cut.per_block);
    std::set<std::int64_t> found;
    for (auto b = segments.first_block(offsets[s]); b < segments.last_block(offsets[s], offsets[s + 1]); ++b) {
      found.insert(b);
      EXPECT_TRUE(written.insert(SegmentCut::piece(b, s)).second) << "two pieces in one place";
      EXPECT_LT(SegmentCut::piece(b, s), segments.pieces());
    }
    EXPECT_EQ(found, expected) << "sequence " << s;
  }
}

TEST(CudaPlans, PiecesOfSequencesHaveAPlaceEach) {
  expect_pieces({1}, 0);
  expect_pieces({32, 32, 32}, 0);
  expect_pieces({31, 1, 33, 0, 64, 0, 0, 5}, 7);
  expect_pieces(std::vector<int>(300, 1), 5);
  expect_pieces({1000, 0, 1}, 100);
  expect_pieces({0, 0, 0}, 10);
}

TEST(CudaPlans, RowsFitIntoWholeWarps) {
  for (const std::int64_t width : {1, 8, 255, 256, 257, 512, 768, 1280, 2560, 5120})
    for (const int vector : {1, 8}) {
      EXPECT_EQ(row_threads(width, vector) % kWarp, 0);
      EXPECT_GE(row_threads(width, vector) * vector, width);
      EXPECT_LT((row_threads(width, vector) - kWarp) * vector, width);
    }
  EXPECT_LE(row_threads(5120, 8), kMaxRowThreads);
}

TEST(CudaPlans, TriangleTilesAreNumberedRowByRow) {
  std::int64_t index = 0;
  for (std::int64_t row = 0; row < 40; ++row)
    for (std::int64_t column = 0; column <= row; ++column, ++index) {
      EXPECT_EQ(triangle_tile(index).row, row);
      EXPECT_EQ(triangle_tile(index).column, column);
    }
}

}  // namespace
}  // namespace lsd::testing
