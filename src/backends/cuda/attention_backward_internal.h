// SPDX-License-Identifier: Apache-2.0
#pragma once
// Backward attention in bfloat16, in two kernels that each write what they own, so that nothing is added atomically and
// the result is the same on every run:
//   keys:    a block owns a tile of keys; queries pass by; grad_k and grad_v
//   queries: a block owns a tile of queries; keys pass by; grad_q
// Either way the block's own rows (a: k or q, b: v or grad_out) are the rows of all products, and the passing rows
// (a: q or k, b: grad_out or v) the columns:
//   s = own_a passing_a^T,  p = exp(scale s - log_sum_exp),  ds = p (own_b passing_b^T - delta)
//   gradient of own a += scale ds passing_a,  and for keys  gradient of own b (v) += p passing_b
// so that p and ds go from accumulators straight into the next product. log_sum_exp and delta belong to queries: to the
// columns in `keys`, to the rows in `queries`.

#include "attention_fragments_internal.h"
#include "attention_prepare_internal.h"

namespace lsd::backends::cuda::attention {

enum class Owner { keys, queries };

template <int HeadWidth, Owner kOwnerOfTile>
struct BackwardShape {
  static constexpr int kWidth = HeadWidth;
  static constexpr Owner kOwner = kOwnerOfTile;
  static constexpr int kWarps = 4;
  static constexpr int kThreads = 32 * kWarps;
  static constexpr int kRows = 16 * kWarps;
  static constexpr int kPassing = HeadWidth <= 64 ? 64 : 32;
  static constexpr bool kKeepOwn = HeadWidth <= 64;  // the own rows' fragments stay in registers
  static constexpr int kOwnElements = kRows * kTileStride<HeadWidth>;
  static constexpr int kPassingElements = kPassing * kTileStride<HeadWidth>;
  static constexpr int kImageStride = HeadWidth + 4;  // of the float32 image that gradients are stored from
  // slot; own a, b; two stages of passing a, b; two stages of log_sum_exp, delta
  static constexpr int kSharedBytes = 16 + 2 * (2 * kOwnElements + 4 * kPassingElements) + 4 * 4 * kPassing;
  static_assert(kRows * kImageStride * 4 <= 2 * 4 * kPassingElements, "the image takes the place of the stages");
};

template <class Shape>
struct BackwardMemory {
  std::int32_t* slot;
  BFloat16* own;      // a, then b
  BFloat16* passing;  // two stages of a, then b
  float* statistics;  // two stages of log_sum_exp * log2(e) [kPassing], then delta [kPassing]

  template <class Thread>
  constexpr explicit BackwardMemory(Thread& t)
      : slot(reinterpret_cast<std::int32_t*>(t.shared())),
        own(reinterpret_cast<BFloat16*>(t.shared() + 16)),
        passing(own + 2 * Shape::kOwnElements),
        statistics(reinterpret_cast<float*>(passing + 4 * Shape::kPassingElements)) {}
  constexpr BFloat16* stage(int number) const { return passing + number * 2 * Shape::kPassingElements; }
  constexpr float* stage_statistics(int number) const { return statistics + number * 2 * Shape::kPassing; }
};

template <class Shape>
struct BackwardState {
  static constexpr int kKept = Shape::kKeepOwn ? Shape::kWidth / 16 : 1;
  std::uint32_t own_a[kKept][1][4], own_b[kKept][1][4];
  float sums_a[1][Shape::kWidth / 8][4], sums_b[1][Shape::kWidth / 8][4];
  float log2_sum[2], delta[2];  // of this lane's rows, where those are queries
};

// log_sum_exp in powers of two and delta of one query; behind the end such that p = ds = 0.
template <class T>
struct QueryStatistics {
  float log2_sum = kInfinity, delta = 0.0F;
  constexpr QueryStatistics(const Problem<T>& p, const Task<T>& task, int row) {
    if (row >= task.tile.length) return;
    log2_sum = p.log_sum_exp[task.statistics + row] * kLog2E;
    delta = p.delta[task.statistics + row];
  }
};

template <class Shape, class Thread>
constexpr void load_passing(Thread& t, const BackwardMemory<Shape>& memory, int stage, int first,
                            const Problem<BFloat16>& p, const Task<BFloat16>& task) {
  constexpr bool kKeys = Shape::kOwner == Owner::keys;
  const int valid = task.tile.length - first;
  BFloat16* a = memory.stage(stage);
  load_tile<Shape::kPassing, Shape::kWidth, Shape::kThreads>(t, a, (kKeys ? task.q : task.k).from_row(first), valid, p);
  load_tile<Shape::kPassing, Shape::kWidth, Shape::kThreads>(
      t, a + Shape::kPassingElements, (kKeys ? task.grad_out : task.v).from_row(first), valid, p);
  if (!kKeys || t.index() >= Shape::kPassing) return;
  const QueryStatistics query(p, task, first + t.index());
  memory.stage_statistics(stage)[t.index()] = query.log2_sum;
  memory.stage_statistics(stage)[Shape::kPassing + t.index()] = query.delta;
}

template <class Shape, class Thread>
constexpr void start_own(Thread& t, BackwardState<Shape>& state, const BackwardMemory<Shape>& memory,
                         const Problem<BFloat16>& p, const Task<BFloat16>& task) {
#pragma unroll
  for (int n = 0; n < Shape::kWidth / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) state.sums_a[0][n][e] = state.sums_b[0][n][e] = 0.0F;
  if constexpr (Shape::kKeepOwn)
#pragma unroll
    for (int k = 0; k < Shape::kWidth / 16; ++k) {
      load_a<Shape::kWidth>(t, state.own_a[k][0], memory.own, 16 * t.warp(), 16 * k);
      load_a<Shape::kWidth>(t, state.own_b[k][0], memory.own + Shape::kOwnElements, 16 * t.warp(), 16 * k);
    }
  if constexpr (Shape::kOwner == Owner::queries)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const QueryStatistics query(p, task, task.tile.start + 16 * t.warp() + t.lane() / 4 + 8 * half);
      state.log2_sum[half] = query.log2_sum;
      state.delta[half] = query.delta;
    }
}

// product [16, kPassing] = own rows of this warp times passing^T.
template <class Shape, class Thread>
constexpr void multiply_own(Thread& t, float (&product)[1][Shape::kPassing / 8][4],
                            const std::uint32_t (&kept)[BackwardState<Shape>::kKept][1][4], const BFloat16* own,
                            const BFloat16* passing) {
#pragma unroll
  for (int n = 0; n < Shape::kPassing / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) product[0][n][e] = 0.0F;
#pragma unroll
  for (int k = 0; k < Shape::kWidth / 16; ++k) {
    std::uint32_t fresh[1][4], b[4];
    if constexpr (!Shape::kKeepOwn) load_a<Shape::kWidth>(t, fresh[0], own, 16 * t.warp(), 16 * k);
#pragma unroll
    for (int n = 0; n < Shape::kPassing; n += 16) {
      load_b<Shape::kWidth>(t, b, passing, 16 * k, n);
      if constexpr (Shape::kKeepOwn)
        multiply_pair<1, Shape::kPassing>(t, product, kept[k], b, n);
      else
        multiply_pair<1, Shape::kPassing>(t, product, fresh, b, n);
    }
  }
}

// Scores become p, grad_p becomes ds (without the factor score_scale).
template <class Shape, class Thread>
constexpr void score_gradients(Thread& t, const BackwardState<Shape>& state, float (&scores)[1][Shape::kPassing / 8][4],
                               float (&grads)[1][Shape::kPassing / 8][4], const float* statistics, int valid,
                               float scale) {
#pragma unroll
  for (int n = 0; n < Shape::kPassing / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int column = n * 8 + t.lane() % 4 * 2 + e % 2;
      constexpr bool kKeys = Shape::kOwner == Owner::keys;
      const float shift = kKeys ? statistics[column] : state.log2_sum[e / 2];
      const float delta = kKeys ? statistics[Shape::kPassing + column] : state.delta[e / 2];
      // A key behind the end has a score of 0, whose power may be infinite: it must not meet the product.
      const bool there = kKeys || column < valid;
      const float p = there ? t.exp2(scores[0][n][e] * scale - shift) : 0.0F;
      scores[0][n][e] = p;
      grads[0][n][e] = p * (grads[0][n][e] - delta);
    }
}

template <class Shape, class Thread>
constexpr void pass_by(Thread& t, BackwardState<Shape>& state, const BackwardMemory<Shape>& memory, int stage,
                       int valid, float scale) {
  const BFloat16* a = memory.stage(stage);
  const BFloat16* b = a + Shape::kPassingElements;
  float scores[1][Shape::kPassing / 8][4], grads[1][Shape::kPassing / 8][4];
  multiply_own<Shape>(t, scores, state.own_a, memory.own, a);
  multiply_own<Shape>(t, grads, state.own_b, memory.own + Shape::kOwnElements, b);
  score_gradients(t, state, scores, grads, memory.stage_statistics(stage), valid, scale);
  if constexpr (Shape::kOwner == Owner::keys)
    multiply_by_rows<1, Shape::kPassing, Shape::kWidth>(t, state.sums_b, scores, b);
  multiply_by_rows<1, Shape::kPassing, Shape::kWidth>(t, state.sums_a, grads, a);
}

// The accumulators of all warps as a float32 image [kRows, kImageStride] in shared memory. Barriers on both sides.
template <class Shape, class Thread>
constexpr void write_image(Thread& t, float* image, const float (&sums)[1][Shape::kWidth / 8][4]) {
  t.sync();
#pragma unroll
  for (int n = 0; n < Shape::kWidth / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e)
      image[(16 * t.warp() + t.lane() / 4 + e / 2 * 8) * Shape::kImageStride + n * 8 + t.lane() % 4 * 2 + e % 2] =
          sums[0][n][e];
  t.sync();
}

// The rows of an image, from row `start` of the sequence on.
template <int Threads, class Thread, class T>
constexpr void store_plain(Thread& t, const float* image, int stride, int rows, HeadRows<T> to, const Problem<T>& p) {
  for (int item = t.index(); item < rows * p.head_width; item += Threads) {
    const int row = item / p.head_width, column = item % p.head_width;
    to.data[row * to.stride + column] = T(image[row * stride + column]);
  }
}

// The same, turned back by each row's position and times `factor`: the gradient of a rotation is its inverse.
template <int Threads, class Thread, class T>
constexpr void store_turned_back(Thread& t, const float* image, int stride, int rows, HeadRows<T> to, float factor,
                                 const Problem<T>& p, const std::int32_t* positions) {
  const int half = p.head_width / 2;
  for (int item = t.index(); item < rows * half; item += Threads) {
    const int row = item / half, pair = item % half;
    const Rotation rotation(t, p, positions[row], pair);
    const float a = image[row * stride + pair] * factor, b = image[row * stride + half + pair] * factor;
    to.data[row * to.stride + pair] = T(a * rotation.cosine + b * rotation.sine);
    to.data[row * to.stride + half + pair] = T(b * rotation.cosine - a * rotation.sine);
  }
}

template <class Shape, class Thread>
constexpr void store_gradients(Thread& t, const BackwardState<Shape>& state, const BackwardMemory<Shape>& memory,
                               const Problem<BFloat16>& p, const Task<BFloat16>& task) {
  constexpr bool kKeys = Shape::kOwner == Owner::keys;
  const int start = task.tile.start, left = task.tile.length - start, rows = left < Shape::kRows ? left : Shape::kRows;
  auto* image = reinterpret_cast<float*>(memory.passing);
  write_image<Shape>(t, image, state.sums_a);
  store_turned_back<Shape::kThreads>(t, image, Shape::kImageStride, rows,
                                     (kKeys ? task.grad_k : task.grad_q).from_row(start), p.score_scale, p,
                                     p.row_position + task.tile.begin + start);
  if constexpr (kKeys) {
    write_image<Shape>(t, image, state.sums_b);
    store_plain<Shape::kThreads>(t, image, Shape::kImageStride, rows, task.grad_v.from_row(start), p);
  }
}

template <class Shape, class Thread>
constexpr void backward_body(Thread& t, const Problem<BFloat16>& p) {
  constexpr bool kKeys = Shape::kOwner == Owner::keys;
  const BackwardMemory<Shape> memory(t);
  TaskQueue tasks(t, p, kKeys ? 0 : 1);
  while (!tasks.empty()) {
    tasks.ask(t);
    const Task<BFloat16> task(p, tasks.task());
    const int start = task.tile.start, length = task.tile.length, rows = length - start;
    load_tile<Shape::kRows, Shape::kWidth, Shape::kThreads>(t, memory.own, (kKeys ? task.k : task.q).from_row(start),
                                                            rows, p);
    load_tile<Shape::kRows, Shape::kWidth, Shape::kThreads>(t, memory.own + Shape::kOwnElements,
                                                            (kKeys ? task.v : task.grad_out).from_row(start), rows, p);
    load_passing(t, memory, 0, 0, p, task);
    const bool active = 16 * t.warp() < rows;  // else all rows of the warp are behind the end
    BackwardState<Shape> state;
    for (int first = 0, stage = 0; first < length; first += Shape::kPassing, stage ^= 1) {
      t.wait_copies();
      t.sync();  // this tile is there, and nobody reads the other stage any more
      if (first == 0) start_own(t, state, memory, p, task);
      if (first + Shape::kPassing < length) load_passing(t, memory, stage ^ 1, first + Shape::kPassing, p, task);
      if (active) pass_by(t, state, memory, stage, length - first, p.score_scale * kLog2E);
    }
    store_gradients(t, state, memory, p, task);
    tasks.advance(t, memory.slot);
  }
}

}  // namespace lsd::backends::cuda::attention
