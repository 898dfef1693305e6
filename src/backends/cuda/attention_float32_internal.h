// SPDX-License-Identifier: Apache-2.0
#pragma once
// Attention in float32, for checking: the tiles and formulas of the bfloat16 kernels, with plain multiply-adds. 256
// threads stand as 16 x 16; thread (y, x) has rows y + 16 i and columns x + 16 j of every product, so that the sixteen
// threads of a row are half a warp and rows of shared memory, one float longer than the width, meet no bank twice.

#include "attention_backward_internal.h"

namespace lsd::backends::cuda::attention {

template <int HeadWidth>
struct PlainShape {
  static constexpr int kWidth = HeadWidth;
  static constexpr int kThreads = 256;
  static constexpr int kRows = HeadWidth <= 64 ? 64 : 32;  // own rows, and passing rows
  static constexpr int kTile = kRows / 16;                 // rows, or columns, of one thread
  static constexpr int kColumns = HeadWidth / 16;          // of one thread in a product [rows, HeadWidth]
  static constexpr int kStride = HeadWidth + 1;
  static constexpr int kScoreStride = kRows + 1;
  static constexpr int kElements = kRows * kStride;
  // slot; own a, b; passing a, b; scores; log_sum_exp, delta of passing rows
  static constexpr int kSharedBytes = 16 + 4 * (4 * kElements + kRows * kScoreStride + 2 * kRows);
};

template <class Shape>
struct PlainMemory {
  std::int32_t* slot;
  float *own_a, *own_b, *passing_a, *passing_b, *scores, *statistics;

  template <class Thread>
  constexpr explicit PlainMemory(Thread& t)
      : slot(reinterpret_cast<std::int32_t*>(t.shared())),
        own_a(reinterpret_cast<float*>(t.shared() + 16)),
        own_b(own_a + Shape::kElements),
        passing_a(own_b + Shape::kElements),
        passing_b(passing_a + Shape::kElements),
        scores(passing_b + Shape::kElements),
        statistics(scores + Shape::kRows * Shape::kScoreStride) {}
};

// Zero behind the last row and column.
template <class Shape, class Thread>
constexpr void load_plain(Thread& t, float* tile, HeadRows<const float> from, int valid_rows, int head_width) {
  for (int item = t.index(); item < Shape::kRows * Shape::kWidth; item += Shape::kThreads) {
    const int row = item / Shape::kWidth, column = item % Shape::kWidth;
    const bool valid = row < valid_rows && column < head_width;
    tile[row * Shape::kStride + column] = valid ? from.data[row * from.stride + column] : 0.0F;
  }
}

// product = own passing^T: this thread's scores.
template <class Shape, class Thread>
constexpr void multiply_plain(Thread& t, float (&product)[Shape::kTile][Shape::kTile], const float* own,
                              const float* passing) {
  const int y = t.index() / 16, x = t.index() % 16;
#pragma unroll
  for (int i = 0; i < Shape::kTile; ++i)
#pragma unroll
    for (int j = 0; j < Shape::kTile; ++j) product[i][j] = 0.0F;
#pragma unroll 4
  for (int k = 0; k < Shape::kWidth; ++k)
#pragma unroll
    for (int i = 0; i < Shape::kTile; ++i)
#pragma unroll
      for (int j = 0; j < Shape::kTile; ++j)
        product[i][j] += own[(y + 16 * i) * Shape::kStride + k] * passing[(x + 16 * j) * Shape::kStride + k];
}

// sums += values passing, with `values` [rows, passing rows] spread over the threads: through shared memory, with
// barriers on both sides.
template <class Shape, class Thread>
constexpr void add_weighted(Thread& t, float (&sums)[Shape::kTile][Shape::kColumns],
                            const float (&values)[Shape::kTile][Shape::kTile], const PlainMemory<Shape>& memory,
                            const float* passing) {
  const int y = t.index() / 16, x = t.index() % 16;
#pragma unroll
  for (int i = 0; i < Shape::kTile; ++i)
#pragma unroll
    for (int j = 0; j < Shape::kTile; ++j)
      memory.scores[(y + 16 * i) * Shape::kScoreStride + x + 16 * j] = values[i][j];
  t.sync();
#pragma unroll 4
  for (int k = 0; k < Shape::kRows; ++k)
#pragma unroll
    for (int i = 0; i < Shape::kTile; ++i)
#pragma unroll
      for (int j = 0; j < Shape::kColumns; ++j)
        sums[i][j] += memory.scores[(y + 16 * i) * Shape::kScoreStride + k] * passing[k * Shape::kStride + x + 16 * j];
  t.sync();
}

template <class Shape>
struct PlainState {
  float sums_a[Shape::kTile][Shape::kColumns] = {}, sums_b[Shape::kTile][Shape::kColumns] = {};
  float largest[Shape::kTile], total[Shape::kTile];  // forward: equal in the sixteen threads of a row
};

template <class Shape, class Thread>
constexpr void plain_softmax(Thread& t, PlainState<Shape>& state, float (&scores)[Shape::kTile][Shape::kTile],
                             int valid_keys, float scale) {
#pragma unroll
  for (int i = 0; i < Shape::kTile; ++i) {
    float largest = state.largest[i];
#pragma unroll
    for (int j = 0; j < Shape::kTile; ++j) {
      if (t.index() % 16 + 16 * j >= valid_keys) scores[i][j] = -kInfinity;
      largest = t.larger(largest, scores[i][j]);
    }
    for (int distance = 8; distance > 0; distance /= 2) largest = t.larger(largest, t.shuffle_xor(largest, distance));
    const float worth = t.exp2((state.largest[i] - largest) * scale);
    float total = 0.0F;
#pragma unroll
    for (int j = 0; j < Shape::kTile; ++j) {
      scores[i][j] = t.exp2((scores[i][j] - largest) * scale);
      total += scores[i][j];
    }
    for (int distance = 8; distance > 0; distance /= 2) total += t.shuffle_xor(total, distance);
    state.largest[i] = largest;
    state.total[i] = state.total[i] * worth + total;
#pragma unroll
    for (int j = 0; j < Shape::kColumns; ++j) state.sums_b[i][j] *= worth;
  }
}

template <class Shape, class Thread>
constexpr void store_plain_queries(Thread& t, const PlainState<Shape>& state, const Problem<float>& p,
                                   const Task<float>& task) {
  const int y = t.index() / 16, x = t.index() % 16;
#pragma unroll
  for (int i = 0; i < Shape::kTile; ++i) {
    const int row = task.tile.start + y + 16 * i;
    if (row >= task.tile.length) continue;
#pragma unroll
    for (int j = 0; j < Shape::kColumns; ++j)
      if (x + 16 * j < p.head_width)
        task.out.data[row * task.out.stride + x + 16 * j] = state.sums_b[i][j] / state.total[i];
    if (p.log_sum_exp != nullptr && x == 0)
      p.log_sum_exp[task.statistics + row] =
          kLn2 * (state.largest[i] * (p.score_scale * kLog2E) + t.log2(state.total[i]));
  }
}

template <class Shape, class Thread>
constexpr void plain_forward_body(Thread& t, const Problem<float>& p) {
  const PlainMemory<Shape> memory(t);
  TaskQueue tasks(t, p, 0);
  while (!tasks.empty()) {
    tasks.ask(t);
    const Task<float> task(p, tasks.task());
    const int start = task.tile.start, length = task.tile.length;
    PlainState<Shape> state;
#pragma unroll
    for (int i = 0; i < Shape::kTile; ++i) {
      state.largest[i] = -kInfinity;
      state.total[i] = 0.0F;
    }
    load_plain<Shape>(t, memory.own_a, task.q.from_row(start), length - start, p.head_width);
    for (int first = 0; first < length; first += Shape::kRows) {
      load_plain<Shape>(t, memory.passing_a, task.k.from_row(first), length - first, p.head_width);
      load_plain<Shape>(t, memory.passing_b, task.v.from_row(first), length - first, p.head_width);
      t.sync();
      float scores[Shape::kTile][Shape::kTile];
      multiply_plain<Shape>(t, scores, memory.own_a, memory.passing_a);
      plain_softmax<Shape>(t, state, scores, length - first, p.score_scale * kLog2E);
      add_weighted<Shape>(t, state.sums_b, scores, memory, memory.passing_b);
    }
    store_plain_queries<Shape>(t, state, p, task);
    tasks.advance(t, memory.slot);
  }
}

// Turns a thread's scores into p, and its grad_p into ds without the factor score_scale.
template <class Shape, Owner kOwner, class Thread>
constexpr void plain_score_gradients(Thread& t, float (&scores)[Shape::kTile][Shape::kTile],
                                     float (&grads)[Shape::kTile][Shape::kTile], const float* statistics,
                                     int valid_columns, float scale) {
  const int y = t.index() / 16, x = t.index() % 16;
#pragma unroll
  for (int i = 0; i < Shape::kTile; ++i)
#pragma unroll
    for (int j = 0; j < Shape::kTile; ++j) {
      const int query = kOwner == Owner::keys ? x + 16 * j : y + 16 * i;
      const bool there = x + 16 * j < valid_columns;
      const float probability = there ? t.exp2(scores[i][j] * scale - statistics[query]) : 0.0F;
      scores[i][j] = probability;
      grads[i][j] = probability * (grads[i][j] - statistics[Shape::kRows + query]);
    }
}

template <class Shape, Owner kOwner, class Thread>
constexpr void store_plain_gradients(Thread& t, const PlainState<Shape>& state, const PlainMemory<Shape>& memory,
                                     const Problem<float>& p, const Task<float>& task) {
  constexpr bool kKeys = kOwner == Owner::keys;
  const int start = task.tile.start, left = task.tile.length - start, rows = left < Shape::kRows ? left : Shape::kRows;
  const int y = t.index() / 16, x = t.index() % 16;
#pragma unroll
  for (int i = 0; i < Shape::kTile; ++i)
#pragma unroll
    for (int j = 0; j < Shape::kColumns; ++j) {
      memory.passing_a[(y + 16 * i) * Shape::kStride + x + 16 * j] = state.sums_a[i][j];
      memory.passing_b[(y + 16 * i) * Shape::kStride + x + 16 * j] = state.sums_b[i][j];
    }
  t.sync();
  store_turned_back<Shape::kThreads>(t, memory.passing_a, Shape::kStride, rows,
                                     (kKeys ? task.grad_k : task.grad_q).from_row(start), p.score_scale, p,
                                     p.row_position + task.tile.begin + start);
  if constexpr (kKeys)
    store_plain<Shape::kThreads>(t, memory.passing_b, Shape::kStride, rows, task.grad_v.from_row(start), p);
}

template <class Shape, Owner kOwner, class Thread>
constexpr void plain_backward_body(Thread& t, const Problem<float>& p) {
  constexpr bool kKeys = kOwner == Owner::keys;
  const PlainMemory<Shape> memory(t);
  TaskQueue tasks(t, p, kKeys ? 0 : 1);
  while (!tasks.empty()) {
    tasks.ask(t);
    const Task<float> task(p, tasks.task());
    const int start = task.tile.start, length = task.tile.length;
    PlainState<Shape> state;
    load_plain<Shape>(t, memory.own_a, (kKeys ? task.k : task.q).from_row(start), length - start, p.head_width);
    load_plain<Shape>(t, memory.own_b, (kKeys ? task.v : task.grad_out).from_row(start), length - start, p.head_width);
    for (int first = 0; first < length; first += Shape::kRows) {
      const int valid = length - first;
      load_plain<Shape>(t, memory.passing_a, (kKeys ? task.q : task.k).from_row(first), valid, p.head_width);
      load_plain<Shape>(t, memory.passing_b, (kKeys ? task.grad_out : task.v).from_row(first), valid, p.head_width);
      if (t.index() < Shape::kRows) {
        const QueryStatistics query(p, task, (kKeys ? first : start) + t.index());
        memory.statistics[t.index()] = query.log2_sum;
        memory.statistics[Shape::kRows + t.index()] = query.delta;
      }
      t.sync();
      float scores[Shape::kTile][Shape::kTile], grads[Shape::kTile][Shape::kTile];
      multiply_plain<Shape>(t, scores, memory.own_a, memory.passing_a);
      multiply_plain<Shape>(t, grads, memory.own_b, memory.passing_b);
      plain_score_gradients<Shape, kOwner>(t, scores, grads, memory.statistics, valid, p.score_scale * kLog2E);
      if constexpr (kKeys) add_weighted<Shape>(t, state.sums_b, scores, memory, memory.passing_b);
      add_weighted<Shape>(t, state.sums_a, grads, memory, memory.passing_a);
    }
    store_plain_gradients<Shape, kOwner>(t, state, memory, p, task);
    tasks.advance(t, memory.slot);
  }
}

}  // namespace lsd::backends::cuda::attention
