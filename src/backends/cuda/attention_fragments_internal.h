// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tiles of bfloat16 in shared memory and the fragments of mma.m16n8k16 that a warp's lanes hold (PTX ISA, "Matrix
// Fragments for mma.m16n8k16"). With group = lane / 4 and pair = 2 * (lane % 4):
//   A [16, 16]: words (group, pair), (group + 8, pair), (group, pair + 8), (group + 8, pair + 8), two elements along k
//   B [16, 8]:  words (pair, group), (pair + 8, group), two elements along k
//   C [16, 8]:  (group, pair), (group, pair + 1), (group + 8, pair), (group + 8, pair + 1)
// A tile's rows are 16 bytes longer than its width, so that the eight rows of a matrix load meet different banks.

#include "attention_problem_internal.h"

namespace lsd::backends::cuda::attention {

template <int Width>
inline constexpr int kTileStride = Width + 8;

// The first min(valid_rows, Rows) rows and head_width columns of `from`; the rest of the tile is zero. Asynchronous:
// there after t.wait_copies() of all threads and a barrier.
template <int Rows, int Width, int Threads, class Thread>
constexpr void load_tile(Thread& t, BFloat16* tile, HeadRows<const BFloat16> from, int valid_rows,
                         const Problem<BFloat16>& p) {
  constexpr int kChunks = Width / 8, kStride = kTileStride<Width>;
  if (p.wide) {
#pragma unroll
    for (int i = 0; i < Rows * kChunks; i += Threads) {
      const int item = i + t.index();
      if (Rows * kChunks % Threads != 0 && item >= Rows * kChunks) break;
      const int row = item / kChunks, column = item % kChunks * 8;
      const bool valid = row < valid_rows && column < p.head_width;
      t.copy_chunk(tile + row * kStride + column, valid ? from.data + row * from.stride + column : from.data, valid);
    }
  } else {
    for (int item = t.index(); item < Rows * Width; item += Threads) {
      const int row = item / Width, column = item % Width;
      const bool valid = row < valid_rows && column < p.head_width;
      tile[row * kStride + column] = valid ? from.data[row * from.stride + column] : BFloat16();
    }
  }
}

// A[row0 .., k0 ..] of a tile [row][k].
template <int Width, class Thread>
constexpr void load_a(Thread& t, std::uint32_t (&a)[4], const BFloat16* tile, int row0, int k0) {
  const int row = row0 + t.lane() % 16, k = k0 + t.lane() / 16 * 8;
  t.template load_matrices<false>(a, tile + row * kTileStride<Width> + k);
}

// B[k0 .., n0 ..] and B[k0 .., n0 + 8 ..] of a tile [n][k]: words 0, 1 and 2, 3.
template <int Width, class Thread>
constexpr void load_b(Thread& t, std::uint32_t (&b)[4], const BFloat16* tile, int k0, int n0) {
  const int n = n0 + t.lane() % 8 + t.lane() / 16 * 8, k = k0 + t.lane() / 8 % 2 * 8;
  t.template load_matrices<false>(b, tile + n * kTileStride<Width> + k);
}

// The same of a tile [k][n].
template <int Width, class Thread>
constexpr void load_b_transposed(Thread& t, std::uint32_t (&b)[4], const BFloat16* tile, int k0, int n0) {
  const int k = k0 + t.lane() % 16, n = n0 + t.lane() / 16 * 8;
  t.template load_matrices<true>(b, tile + k * kTileStride<Width> + n);
}

// The A fragment [16, 16] whose two halves are the accumulators [16, 8] `left` and `right`.
template <class Thread>
constexpr void pack_a(Thread& t, std::uint32_t (&a)[4], const float (&left)[4], const float (&right)[4]) {
  a[0] = t.pack(left[0], left[1]);
  a[1] = t.pack(left[2], left[3]);
  a[2] = t.pack(right[0], right[1]);
  a[3] = t.pack(right[2], right[3]);
}

// c[m] += a[m] * b over columns n0 .. n0 + 15, for every row tile m.
template <int RowTiles, int Columns, class Thread>
constexpr void multiply_pair(Thread& t, float (&c)[RowTiles][Columns / 8][4], const std::uint32_t (&a)[RowTiles][4],
                             const std::uint32_t (&b)[4], int n0) {
#pragma unroll
  for (int m = 0; m < RowTiles; ++m) {
    t.multiply(c[m][n0 / 8], a[m], b[0], b[1]);
    t.multiply(c[m][n0 / 8 + 1], a[m], b[2], b[3]);
  }
}

// sums [rows, Width] += p * values, with p [rows, Keys] given as accumulators and `values` a tile [key][Width].
template <int RowTiles, int Keys, int Width, class Thread>
constexpr void multiply_by_rows(Thread& t, float (&sums)[RowTiles][Width / 8][4],
                                const float (&p)[RowTiles][Keys / 8][4], const BFloat16* values) {
#pragma unroll
  for (int key = 0; key < Keys; key += 16) {
    std::uint32_t a[RowTiles][4], b[4];
#pragma unroll
    for (int m = 0; m < RowTiles; ++m) pack_a(t, a[m], p[m][key / 8], p[m][key / 8 + 1]);
#pragma unroll
    for (int n = 0; n < Width; n += 16) {
      load_b_transposed<Width>(t, b, values, key, n);
      multiply_pair<RowTiles, Width>(t, sums, a, b, n);
    }
  }
}

}  // namespace lsd::backends::cuda::attention
