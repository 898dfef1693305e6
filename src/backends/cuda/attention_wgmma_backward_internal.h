// SPDX-License-Identifier: Apache-2.0
#pragma once
// Backward attention in bfloat16 with warp-group products, for heads of 64 columns: the two kernels, their products and
// their names as in attention_backward_internal.h, so nothing is added atomically here either. A block of two warp
// groups owns 128 rows, 64 a group, whose fragments stay in registers. The products into the gradients of one passing
// tile run on while the scores of the next are found.

#include "attention_backward_internal.h"
#include "attention_wgmma_tiles_internal.h"

namespace lsd::backends::cuda::attention {

template <Owner kOwnerOfTile>
struct WgmmaBackwardShape {
  static constexpr Owner kOwner = kOwnerOfTile;
  static constexpr bool kKeys = kOwner == Owner::keys;
  static constexpr int kWidth = 64, kBlocksAtOnce = 1;
  static constexpr int kThreads = 2 * kWarpGroup, kRows = 128, kPassing = 64;
  static constexpr int kOwnBytes = kSwizzledBytes<kRows, kWidth>, kPassingBytes = kSwizzledBytes<kPassing, kWidth>;
  static constexpr int kStatistics = 2 * kPassing;  // log_sum_exp, then delta of the passing queries
  // own a, b of this task and the next; stages of passing a, b; of statistics; slots
  static constexpr int kUsedBytes = 4 * kOwnBytes + kStages * (2 * kPassingBytes + 4 * kStatistics) + 16;
  static constexpr int kSharedBytes = kUsedBytes + kAtomBytes - 16;
};

template <class Shape>
struct WgmmaBackwardMemory {
  unsigned char *owns, *stages;
  float* statistics;
  std::int32_t* slots;

  template <class Thread>
  constexpr explicit WgmmaBackwardMemory(Thread& t)
      : owns(aligned_shared(t)),
        stages(owns + 4 * Shape::kOwnBytes),
        statistics(reinterpret_cast<float*>(stages + kStages * 2 * Shape::kPassingBytes)),
        slots(reinterpret_cast<std::int32_t*>(statistics + kStages * Shape::kStatistics)) {}
  constexpr unsigned char* own(int turn, int part) const { return owns + (2 * turn + part) * Shape::kOwnBytes; }
  constexpr unsigned char* passing(int stage, int part) const {
    return stages + (2 * stage + part) * Shape::kPassingBytes;
  }
  constexpr float* stage_statistics(int stage) const { return statistics + stage * Shape::kStatistics; }
};

template <class Shape>
struct WgmmaBackwardState {
  std::uint32_t own_a[4][4], own_b[4][4];
  float scores[Shape::kPassing / 8][4], grads[Shape::kPassing / 8][4];
  std::uint32_t p[Shape::kPassing / 16][4], ds[Shape::kPassing / 16][4];
  float sums_a[Shape::kWidth / 8][4], sums_b[Shape::kWidth / 8][4];
  float log2_sum[2], delta[2];  // of this lane's rows, where those are queries
};

template <class Shape, class Thread>
constexpr void load_wgmma_passing(Thread& t, const WgmmaBackwardMemory<Shape>& memory, int stage, int first,
                                  const Problem<BFloat16>& p, const Task<BFloat16>& task) {
  constexpr bool kKeys = Shape::kKeys;
  const int length = task.tile.length;
  load_swizzled<Shape::kPassing, Shape::kWidth, Shape::kThreads>(t, memory.passing(stage, 0), kKeys ? task.q : task.k,
                                                                 first, length, p);
  load_swizzled<Shape::kPassing, Shape::kWidth, Shape::kThreads>(t, memory.passing(stage, 1),
                                                                 kKeys ? task.grad_out : task.v, first, length, p);
  if (!kKeys || t.index() >= Shape::kStatistics) return;
  // Behind the end both are 0, and so are the rows of q and grad_out: p is 1, grad_p and ds are 0.
  const int row = first + t.index() % Shape::kPassing;
  const float* from = (t.index() < Shape::kPassing ? p.log_sum_exp : p.delta) + task.statistics;
  t.copy_word(memory.stage_statistics(stage) + t.index(), row < length ? from + row : from, row < length);
}

// The own rows and the first passing tile of a task.
template <class Shape, class Thread>
constexpr void load_wgmma_owner(Thread& t, const WgmmaBackwardMemory<Shape>& memory, int turn, int stage,
                                const Problem<BFloat16>& p, const Task<BFloat16>& task) {
  constexpr bool kKeys = Shape::kKeys;
  const int start = task.tile.start, length = task.tile.length;
  load_swizzled<Shape::kRows, Shape::kWidth, Shape::kThreads>(t, memory.own(turn, 0), kKeys ? task.k : task.q, start,
                                                              length, p);
  load_swizzled<Shape::kRows, Shape::kWidth, Shape::kThreads>(t, memory.own(turn, 1), kKeys ? task.v : task.grad_out,
                                                              start, length, p);
  load_wgmma_passing(t, memory, stage, 0, p, task);
}

template <class Shape, class Thread>
constexpr void start_wgmma_own(Thread& t, WgmmaBackwardState<Shape>& state, const WgmmaBackwardMemory<Shape>& memory,
                               int turn, const Problem<BFloat16>& p, const Task<BFloat16>& task) {
#pragma unroll
  for (int k = 0; k < Shape::kWidth / 16; ++k) {
    load_swizzled_a<Shape::kRows>(t, state.own_a[k], memory.own(turn, 0), 16 * t.warp(), 16 * k);
    load_swizzled_a<Shape::kRows>(t, state.own_b[k], memory.own(turn, 1), 16 * t.warp(), 16 * k);
  }
  if constexpr (!Shape::kKeys)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const QueryStatistics query(p, task, task.tile.start + 16 * t.warp() + t.lane() / 4 + 8 * half);
      state.log2_sum[half] = query.log2_sum;
      state.delta[half] = query.delta;
    }
}

// product [64, kPassing] = own rows times passing^T
template <class Shape, class Thread>
constexpr void issue_own(Thread& t, float (&product)[Shape::kPassing / 8][4], const std::uint32_t (&own)[4][4],
                         const unsigned char* passing) {
#pragma unroll
  for (int k = 0; k < Shape::kWidth; k += 16)
    t.template multiply_group<false>(product, own[k / 16], by_columns<Shape::kPassing>(t, passing, 0, k), k > 0);
  t.commit_products();
}

// sums [64, kWidth] += weights times passing
template <class Shape, class Thread>
constexpr void issue_gradient(Thread& t, float (&sums)[Shape::kWidth / 8][4],
                              const std::uint32_t (&weights)[Shape::kPassing / 16][4], const unsigned char* passing,
                              bool add) {
#pragma unroll
  for (int k = 0; k < Shape::kPassing; k += 16)
    t.template multiply_group<true>(sums, weights[k / 16], by_rows<Shape::kPassing>(t, passing, k), add || k > 0);
  t.commit_products();
}

// Scores become p.
template <class Shape, class Thread>
constexpr void find_probabilities(Thread& t, WgmmaBackwardState<Shape>& state, const float* statistics, int valid,
                                  float scale) {
#pragma unroll
  for (int n = 0; n < Shape::kPassing / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int column = n * 8 + t.lane() % 4 * 2 + e % 2;
      const float shift = Shape::kKeys ? statistics[column] * kLog2E : state.log2_sum[e / 2];
      // A key behind the end has a score of 0, whose power may be infinite: it must not meet the product.
      const bool there = Shape::kKeys || column < valid;
      state.scores[n][e] = there ? t.exp2(state.scores[n][e] * scale - shift) : 0.0F;
    }
}

// grad_p becomes ds (without the factor score_scale).
template <class Shape, class Thread>
constexpr void find_score_gradients(Thread& t, WgmmaBackwardState<Shape>& state, const float* statistics) {
#pragma unroll
  for (int n = 0; n < Shape::kPassing / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int column = n * 8 + t.lane() % 4 * 2 + e % 2;
      const float delta = Shape::kKeys ? statistics[Shape::kPassing + column] : state.delta[e / 2];
      state.grads[n][e] = state.scores[n][e] * (state.grads[n][e] - delta);
    }
}

// Two accumulators of a row as two neighbouring columns of the output.
template <class Thread>
constexpr void store_pair(Thread& t, BFloat16* to, float low, float high) {
  *reinterpret_cast<std::uint32_t*>(to) = t.pack(low, high);
}

// A lane holds both columns of every pair that turns, 32 apart: 4 blocks of 8. `turn_back`: by each row's position,
// times score_scale.
template <class Shape, bool kTurnBack, class Thread>
constexpr void store_sums(Thread& t, const float (&sums)[Shape::kWidth / 8][4], HeadRows<BFloat16> to,
                          const Problem<BFloat16>& p, const Task<BFloat16>& task) {
  constexpr int kHalf = Shape::kWidth / 2;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int row = task.tile.start + 16 * t.warp() + t.lane() / 4 + 8 * half;
    if (row >= task.tile.length) continue;
    const std::int32_t position = kTurnBack ? p.row_position[task.tile.begin + row] : 0;
#pragma unroll
    for (int n = 0; n < kHalf / 8; ++n) {
      const int pair = n * 8 + t.lane() % 4 * 2;
      float first[2] = {sums[n][2 * half], sums[n][2 * half + 1]};
      float second[2] = {sums[n + kHalf / 8][2 * half], sums[n + kHalf / 8][2 * half + 1]};
      if constexpr (kTurnBack)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          const Rotation rotation(t, p, position, pair + e);
          const float a = first[e] * p.score_scale, b = second[e] * p.score_scale;
          first[e] = a * rotation.cosine + b * rotation.sine;
          second[e] = b * rotation.cosine - a * rotation.sine;
        }
      BFloat16* at = to.data + std::int64_t{row} * to.stride + pair;
      store_pair(t, at, first[0], first[1]);
      store_pair(t, at + kHalf, second[0], second[1]);
    }
  }
}

// One passing tile. Its products into the gradients are under way at the end.
template <class Shape, class Thread, class LoadNext>
constexpr void pass_wgmma_tile(Thread& t, WgmmaBackwardState<Shape>& state, const WgmmaBackwardMemory<Shape>& memory,
                               int stage, bool add, int valid, const Problem<BFloat16>& p, const LoadNext& load_next) {
  const unsigned char *a = memory.passing(stage, 0), *b = memory.passing(stage, 1);
  const float* statistics = memory.stage_statistics(stage);
  t.fence_registers();
  issue_own<Shape>(t, state.scores, state.own_a, a);
  issue_own<Shape>(t, state.grads, state.own_b, b);
  load_next();
  t.template wait_products<1>();  // the scores; also what read p, ds and the tile before
  t.hold(state.scores);
  find_probabilities(t, state, statistics, valid, p.score_scale * kLog2E);
  if constexpr (Shape::kKeys) {
    pack_fragments(t, state.p, state.scores);
    t.fence_registers();
    issue_gradient<Shape>(t, state.sums_b, state.p, b, add);
    t.template wait_products<1>();
    t.hold(state.grads);
  } else {
    wait_behind<0>(t, p, state.grads);
  }
  find_score_gradients(t, state, statistics);
  pack_fragments(t, state.ds, state.grads);
  t.fence_registers();
  issue_gradient<Shape>(t, state.sums_a, state.ds, a, add);
}

template <class Shape, class Thread>
constexpr void wgmma_backward_body(Thread& t, const Problem<BFloat16>& p) {
  const WgmmaBackwardMemory<Shape> memory(t);
  TaskStream tasks(t, p, Shape::kKeys ? 0 : 1, memory.slots);
  int stage = 0, turn = 0;
  if (tasks.there()) load_wgmma_owner(t, memory, turn, stage, p, tasks.task(p));
  WgmmaBackwardState<Shape> state;
  while (tasks.there()) {
    const auto task = tasks.task(p);
    const int length = task.tile.length;
    const bool active = 64 * t.group() < length - task.tile.start;  // else all of the group's rows are behind the end
    const auto load_next = [&](int first) {
      stage = stage == kStages - 1 ? 0 : stage + 1;
      if (first < length)
        load_wgmma_passing(t, memory, stage, first, p, task);
      else if (tasks.next_there())
        load_wgmma_owner(t, memory, turn ^ 1, stage, p, tasks.next(p));
    };
    begin_tile(t);
    tasks.look_ahead(t, p);
    if (!active) {
      load_next(Shape::kPassing);
      for (int first = Shape::kPassing; first < length; first += Shape::kPassing) {
        begin_tile(t);
        load_next(first + Shape::kPassing);
      }
    } else {
      start_wgmma_own(t, state, memory, turn, p, task);
      for (int first = 0;; begin_tile(t)) {
        const int now = stage;
        pass_wgmma_tile(t, state, memory, now, first > 0, length - first, p,
                        [&] { load_next(first + Shape::kPassing); });
        first += Shape::kPassing;
        if (first >= length) break;
      }
      t.template wait_products<0>();
      t.hold(state.sums_a);
      store_sums<Shape, true>(t, state.sums_a, Shape::kKeys ? task.grad_k : task.grad_q, p, task);
      if constexpr (Shape::kKeys) {
        t.hold(state.sums_b);
        store_sums<Shape, false>(t, state.sums_b, task.grad_v, p, task);
      }
    }
    tasks.advance(t);
    turn ^= 1;
  }
}

}  // namespace lsd::backends::cuda::attention
