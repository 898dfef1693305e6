// SPDX-License-Identifier: Apache-2.0
#pragma once
// Forward attention in bfloat16 with a running maximum (Dao, FlashAttention-2, 2023). A block of four warps owns a tile
// of queries, whose fragments stay in registers; keys and values of the sequence pass by in tiles of 64, the next one
// on its way while this one is used. Scores, probabilities and sums stay in registers, in float32.

#include "attention_fragments_internal.h"

namespace lsd::backends::cuda::attention {

template <int HeadWidth>  // 16, 32, 64, 128: head widths up to it
struct ForwardShape {
  static constexpr int kWidth = HeadWidth;
  static constexpr int kWarps = 4;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kRowTiles = HeadWidth <= 64 ? 2 : 1;  // of 16 queries, per warp: what the registers hold
  static constexpr int kRows = 16 * kRowTiles * kWarps;
  static constexpr int kKeys = 64;
  static constexpr int kQueryElements = kRows * kTileStride<HeadWidth>, kKeyElements = kKeys * kTileStride<HeadWidth>;
  static constexpr int kSharedBytes = 16 + 2 * (kQueryElements + 4 * kKeyElements);
};

// The sums and softmax states of the queries of one warp.
template <class Shape>
struct ForwardState {
  std::uint32_t q[Shape::kWidth / 16][Shape::kRowTiles][4];
  float sums[Shape::kRowTiles][Shape::kWidth / 8][4];
  float largest[Shape::kRowTiles][2], total[Shape::kRowTiles][2];  // of this lane's rows; total of its columns alone
};

template <class Shape, class Thread>
constexpr void start_queries(Thread& t, ForwardState<Shape>& state, const BFloat16* queries) {
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m) {
    const int row0 = (t.warp() * Shape::kRowTiles + m) * 16;
#pragma unroll
    for (int k = 0; k < Shape::kWidth / 16; ++k) load_a<Shape::kWidth>(t, state.q[k][m], queries, row0, 16 * k);
#pragma unroll
    for (int n = 0; n < Shape::kWidth / 8; ++n)
      for (int e = 0; e < 4; ++e) state.sums[m][n][e] = 0.0F;
    for (int half = 0; half < 2; ++half) {
      state.largest[m][half] = -kInfinity;
      state.total[m][half] = 0.0F;
    }
  }
}

// Scores of keys behind the sequence's end weigh nothing.
template <class Shape, class Thread>
constexpr void mask_keys(Thread& t, float (&scores)[Shape::kRowTiles][Shape::kKeys / 8][4], int valid_keys) {
#pragma unroll
  for (int n = 0; n < Shape::kKeys / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e)
      if (n * 8 + t.lane() % 4 * 2 + e % 2 >= valid_keys)
#pragma unroll
        for (int m = 0; m < Shape::kRowTiles; ++m) scores[m][n][e] = -kInfinity;
}

// Scores become probabilities times 2^-(largest score); the sums so far are brought to the new largest score.
template <class Shape, class Thread>
constexpr void online_softmax(Thread& t, ForwardState<Shape>& state,
                              float (&scores)[Shape::kRowTiles][Shape::kKeys / 8][4], float scale) {
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = state.largest[m][half];
#pragma unroll
      for (int n = 0; n < Shape::kKeys / 8; ++n)
        largest = t.larger(largest, t.larger(scores[m][n][2 * half], scores[m][n][2 * half + 1]));
      largest = t.larger(largest, t.shuffle_xor(largest, 1));
      largest = t.larger(largest, t.shuffle_xor(largest, 2));
      const float worth = t.exp2((state.largest[m][half] - largest) * scale), shift = largest * scale;
      state.largest[m][half] = largest;
      float total = state.total[m][half] * worth;
#pragma unroll
      for (int n = 0; n < Shape::kKeys / 8; ++n)
#pragma unroll
        for (int e = 2 * half; e < 2 * half + 2; ++e) {
          scores[m][n][e] = t.exp2(scores[m][n][e] * scale - shift);
          total += scores[m][n][e];
        }
      state.total[m][half] = total;
#pragma unroll
      for (int n = 0; n < Shape::kWidth / 8; ++n) {
        state.sums[m][n][2 * half] *= worth;
        state.sums[m][n][2 * half + 1] *= worth;
      }
    }
  }
}

template <class Shape, class Thread>
constexpr void attend_keys(Thread& t, ForwardState<Shape>& state, const BFloat16* keys, const BFloat16* values,
                           int valid_keys, float scale) {
  float scores[Shape::kRowTiles][Shape::kKeys / 8][4] = {};
#pragma unroll
  for (int k = 0; k < Shape::kWidth / 16; ++k)
#pragma unroll
    for (int n = 0; n < Shape::kKeys; n += 16) {
      std::uint32_t b[4];
      load_b<Shape::kWidth>(t, b, keys, 16 * k, n);
      multiply_pair<Shape::kRowTiles, Shape::kKeys>(t, scores, state.q[k], b, n);
    }
  if (valid_keys < Shape::kKeys) mask_keys<Shape>(t, scores, valid_keys);
  online_softmax<Shape>(t, state, scores, scale);
  multiply_by_rows<Shape::kRowTiles, Shape::kKeys, Shape::kWidth>(t, state.sums, scores, values);
}

// One row of one lane: its columns of out, and log_sum_exp by the first lane of four.
template <class Shape, class Thread>
constexpr void store_query(Thread& t, const float (&sums)[Shape::kWidth / 8][4], int half, float largest, float total,
                           int row, const Problem<BFloat16>& p, const Task<BFloat16>& task) {
  const float inverse = 1.0F / total;
  BFloat16* out = task.out.data + row * task.out.stride;
#pragma unroll
  for (int n = 0; n < Shape::kWidth / 8; ++n) {
    const int column = n * 8 + t.lane() % 4 * 2;  // head widths are even
    if (column < p.head_width)
      *reinterpret_cast<std::uint32_t*>(out + column) =
          t.pack(sums[n][2 * half] * inverse, sums[n][2 * half + 1] * inverse);
  }
  if (p.log_sum_exp != nullptr && t.lane() % 4 == 0)
    p.log_sum_exp[task.statistics + row] = kLn2 * (largest * (p.score_scale * kLog2E) + t.log2(total));
}

template <class Shape, class Thread>
constexpr void store_queries(Thread& t, const ForwardState<Shape>& state, const Problem<BFloat16>& p,
                             const Task<BFloat16>& task) {
#pragma unroll
  for (int m = 0; m < Shape::kRowTiles; ++m)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float total = state.total[m][half];
      total += t.shuffle_xor(total, 1);
      total += t.shuffle_xor(total, 2);
      const int row = task.tile.start + (t.warp() * Shape::kRowTiles + m) * 16 + t.lane() / 4 + 8 * half;
      if (row < task.tile.length)
        store_query<Shape>(t, state.sums[m], half, state.largest[m][half], total, row, p, task);
    }
}

// Keys and values from `first` on, into one of the two stages.
template <class Shape, class Thread>
constexpr void load_keys(Thread& t, BFloat16* stage, int first, const Problem<BFloat16>& p,
                         const Task<BFloat16>& task) {
  const int valid = task.tile.length - first;
  load_tile<Shape::kKeys, Shape::kWidth, Shape::kThreads>(t, stage, task.k.from_row(first), valid, p);
  load_tile<Shape::kKeys, Shape::kWidth, Shape::kThreads>(t, stage + Shape::kKeyElements, task.v.from_row(first), valid,
                                                          p);
}

template <class Shape, class Thread>
constexpr void forward_body(Thread& t, const Problem<BFloat16>& p) {
  auto* slot = reinterpret_cast<std::int32_t*>(t.shared());
  auto* queries = reinterpret_cast<BFloat16*>(t.shared() + 16);
  BFloat16* stages = queries + Shape::kQueryElements;
  TaskQueue tasks(t, p, 0);
  while (!tasks.empty()) {
    tasks.ask(t);
    const Task<BFloat16> task(p, tasks.task());
    const int length = task.tile.length, rows = length - task.tile.start;
    load_tile<Shape::kRows, Shape::kWidth, Shape::kThreads>(t, queries, task.q.from_row(task.tile.start), rows, p);
    load_keys<Shape>(t, stages, 0, p, task);
    const bool active = t.warp() * 16 * Shape::kRowTiles < rows;  // else all of the warp's queries are behind the end
    ForwardState<Shape> state;
    for (int first = 0, stage = 0; first < length; first += Shape::kKeys, stage ^= 1) {
      t.wait_copies();
      t.sync();  // this tile is there, and nobody reads the other stage any more
      if (first == 0) start_queries(t, state, queries);
      if (first + Shape::kKeys < length)
        load_keys<Shape>(t, stages + (stage ^ 1) * 2 * Shape::kKeyElements, first + Shape::kKeys, p, task);
      const BFloat16* keys = stages + stage * 2 * Shape::kKeyElements;
      if (active) attend_keys(t, state, keys, keys + Shape::kKeyElements, length - first, p.score_scale * kLog2E);
    }
    if (active) store_queries(t, state, p, task);
    tasks.advance(t, slot);
  }
}

}  // namespace lsd::backends::cuda::attention
