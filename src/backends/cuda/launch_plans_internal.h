// SPDX-License-Identifier: Apache-2.0
#pragma once
// How work is cut into blocks, as plain arithmetic that host and device share and that tests check without a GPU. Cuts
// depend on shapes alone, so that every sum has one order on every device.

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace lsd::backends::cuda {

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}
constexpr std::int64_t round_up(std::int64_t a, std::int64_t b) {
  return ceil_div(a, b) * b;
}
// Pieces of scratch start at multiples of 256 bytes.
constexpr std::size_t scratch_line(std::size_t bytes) {
  return (bytes + 255) / 256 * 256;
}

constexpr int kWarp = 32;

// Rows cut into blocks of neighbours: block b has rows [begin(b), end(b)).
struct RowBlocks {
  std::int64_t rows = 0, per_block = 1;
  constexpr std::int64_t blocks() const { return ceil_div(rows, per_block); }
  constexpr std::int64_t begin(std::int64_t block) const { return block * per_block; }
  constexpr std::int64_t end(std::int64_t block) const {
    const auto last = (block + 1) * per_block;
    return last < rows ? last : rows;
  }
};

// Blocks whose partial sums of `columns` floats are kept until the end: enough of them to fill a GPU, few enough that
// the partial sums stay small beside the rows.
constexpr RowBlocks column_sum_blocks(std::int64_t rows, std::int64_t columns) {
  const std::int64_t most =
      std::clamp<std::int64_t>((std::int64_t{1} << 20) / std::max<std::int64_t>(columns, 1), 128, 2048);
  return {rows, std::max<std::int64_t>(4, ceil_div(rows, most))};
}

// Sums by group keep one partial sum per group, so there are fewer blocks; 32 rows are looked at together.
constexpr RowBlocks group_sum_blocks(std::int64_t rows) {
  return {rows, std::max<std::int64_t>(kWarp, round_up(ceil_div(rows, 256), kWarp))};
}

// Sums over each sequence of a packed batch. Rows are cut into blocks as if there were no sequences; what a block sums
// of one sequence is a piece. Along the rows block and sequence never fall and one of them rises from piece to piece,
// so block + sequence numbers pieces without a gap in memory for either.
struct SegmentCut {
  RowBlocks cut;
  std::int64_t sequences = 0;
  constexpr std::int64_t pieces() const { return cut.blocks() + sequences; }
  static constexpr std::int64_t piece(std::int64_t block, std::int64_t sequence) { return block + sequence; }
  // Blocks [first, last) hold rows of a sequence at rows [begin, end).
  constexpr std::int64_t first_block(std::int64_t begin) const { return begin / cut.per_block; }
  constexpr std::int64_t last_block(std::int64_t begin, std::int64_t end) const {
    return end > begin ? (end - 1) / cut.per_block + 1 : first_block(begin);
  }
};

constexpr SegmentCut segment_cut(std::int64_t rows, std::int64_t sequences) {
  return {{rows, 32}, sequences};
}

// Threads of a block that holds one row, each with `vector` neighbouring columns: whole warps.
constexpr int kMaxRowThreads = 640;
constexpr std::int64_t row_threads(std::int64_t width, int vector) {
  return round_up(ceil_div(width, vector), kWarp);
}

// A d x d matrix cut into tiles of kTile x kTile, padded by the identity.
constexpr int kTile = 32;
constexpr std::int64_t padded(std::int64_t d) {
  return round_up(d, kTile);
}
// The tile (row, column), column <= row, of the lower triangle with number `index` = row (row + 1) / 2 + column.
struct TriangleTile {
  std::int64_t row, column;
};
constexpr TriangleTile triangle_tile(std::int64_t index) {
  std::int64_t row = 0;
  while ((row + 1) * (row + 2) / 2 <= index) ++row;
  return {row, index - row * (row + 1) / 2};
}

}  // namespace lsd::backends::cuda
