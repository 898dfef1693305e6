// SPDX-License-Identifier: Apache-2.0
#pragma once
// Forward attention in bfloat16 with warp-group products (Shah et al., FlashAttention-3, 2024). A block of two or three
// warp groups owns a tile of queries, 64 a group; keys and values pass by. While a group finds the weights of one tile
// of keys, the product of the last tile's weights and values runs; other groups and blocks fill what is left. The sums
// are brought to a new largest score only when it has grown by kLateBy powers of two (Zadouri et al., FlashAttention-4,
// 2026): until then weights are up to 2^kLateBy instead of 1, which costs no accuracy.

#include "attention_forward_internal.h"
#include "attention_wgmma_tiles_internal.h"

namespace lsd::backends::cuda::attention {

inline constexpr float kLateBy = 8.0F;

template <int HeadWidth, int Groups, int Keys, int BlocksAtOnce>  // 64 or 128; BlocksAtOnce on one multiprocessor
struct WgmmaForwardShape {
  static constexpr int kWidth = HeadWidth, kKeys = Keys, kBlocksAtOnce = BlocksAtOnce;
  static constexpr int kThreads = kWarpGroup * Groups, kRows = 64 * Groups;
  // A product of 64 columns that reads both operands from shared memory asks for all 128 bytes a cycle it has.
  static constexpr bool kKeepQueries = Keys == 64;
  static constexpr int kQueryBytes = kSwizzledBytes<kRows, HeadWidth>, kKeyBytes = kSwizzledBytes<Keys, HeadWidth>;
  static constexpr int kUsedBytes = 2 * kQueryBytes + kStages * 2 * kKeyBytes + 16;
  static constexpr int kSharedBytes = kUsedBytes + kAtomBytes - 16;  // dynamic shared memory is aligned to 16 bytes
};

template <class Shape>
struct WgmmaForwardMemory {
  unsigned char *queries, *stages;  // tiles of queries of this task and the next; keys, then values
  std::int32_t* slots;

  template <class Thread>
  constexpr explicit WgmmaForwardMemory(Thread& t)
      : queries(aligned_shared(t)),
        stages(queries + 2 * Shape::kQueryBytes),
        slots(reinterpret_cast<std::int32_t*>(stages + kStages * 2 * Shape::kKeyBytes)) {}
  constexpr unsigned char* query_tile(int turn) const { return queries + turn * Shape::kQueryBytes; }
  constexpr unsigned char* keys(int stage) const { return stages + stage * 2 * Shape::kKeyBytes; }
  constexpr unsigned char* values(int stage) const { return keys(stage) + Shape::kKeyBytes; }
};

template <class Shape>
struct WgmmaForwardState {
  std::uint32_t queries[Shape::kWidth / 16][4];
  float scores[Shape::kKeys / 8][4];
  std::uint32_t weights[Shape::kKeys / 16][4];
  float sums[Shape::kWidth / 8][4];
  float largest[2], total[2];  // of this lane's rows; total of its columns alone
};

template <class Shape, class Thread>
constexpr void load_wgmma_keys(Thread& t, const WgmmaForwardMemory<Shape>& memory, int stage, int first,
                               const Problem<BFloat16>& p, const Task<BFloat16>& task) {
  const int length = task.tile.length;
  load_swizzled<Shape::kKeys, Shape::kWidth, Shape::kThreads>(t, memory.keys(stage), task.k, first, length, p);
  load_swizzled<Shape::kKeys, Shape::kWidth, Shape::kThreads>(t, memory.values(stage), task.v, first, length, p);
}

// The queries and the first keys of a task.
template <class Shape, class Thread>
constexpr void load_wgmma_task(Thread& t, const WgmmaForwardMemory<Shape>& memory, int turn, int stage,
                               const Problem<BFloat16>& p, const Task<BFloat16>& task) {
  load_swizzled<Shape::kRows, Shape::kWidth, Shape::kThreads>(t, memory.query_tile(turn), task.q, task.tile.start,
                                                              task.tile.length, p);
  load_wgmma_keys(t, memory, stage, 0, p, task);
}

template <class Shape, class Thread>
constexpr void start_wgmma_queries(Thread& t, WgmmaForwardState<Shape>& state, const unsigned char* queries) {
  if constexpr (Shape::kKeepQueries)
#pragma unroll
    for (int k = 0; k < Shape::kWidth / 16; ++k)
      load_swizzled_a<Shape::kRows>(t, state.queries[k], queries, 16 * t.warp(), 16 * k);
  for (int half = 0; half < 2; ++half) {
    state.largest[half] = -kInfinity;
    state.total[half] = 0.0F;
  }
}

template <class Shape, class Thread>
constexpr void issue_scores(Thread& t, WgmmaForwardState<Shape>& state, const unsigned char* queries,
                            const unsigned char* keys) {
#pragma unroll
  for (int k = 0; k < Shape::kWidth; k += 16) {
    const auto b = by_columns<Shape::kKeys>(t, keys, 0, k);
    if constexpr (Shape::kKeepQueries)
      t.template multiply_group<false>(state.scores, state.queries[k / 16], b, k > 0);
    else
      t.template multiply_group<false>(state.scores, by_columns<Shape::kRows>(t, queries, 64 * t.group(), k), b, k > 0);
  }
  t.commit_products();
}

template <class Shape, class Thread>
constexpr void issue_sums(Thread& t, WgmmaForwardState<Shape>& state, const unsigned char* values, bool add) {
#pragma unroll
  for (int k = 0; k < Shape::kKeys; k += 16)
    t.template multiply_group<true>(state.sums, state.weights[k / 16], by_rows<Shape::kKeys>(t, values, k),
                                    add || k > 0);
  t.commit_products();
}

// Scores become weights, which are 2^(scaled score - largest), and `worth` what earlier ones are worth now.
template <class Shape, class Thread>
constexpr void find_weights(Thread& t, WgmmaForwardState<Shape>& state, float (&worth)[2], int valid_keys,
                            float scale) {
  if (valid_keys < Shape::kKeys)
#pragma unroll
    for (int n = 0; n < Shape::kKeys / 8; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        if (n * 8 + t.lane() % 4 * 2 + e % 2 >= valid_keys) state.scores[n][e] = -kInfinity;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float largest = state.scores[0][2 * half];
#pragma unroll
    for (int n = 0; n < Shape::kKeys / 8; ++n)
      largest = t.larger(largest, t.larger(state.scores[n][2 * half], state.scores[n][2 * half + 1]));
    largest = t.larger(largest, t.shuffle_xor(largest, 1));
    largest = t.larger(largest, t.shuffle_xor(largest, 2));
    const bool grown = (largest - state.largest[half]) * scale > kLateBy;
    worth[half] = grown ? t.exp2((state.largest[half] - largest) * scale) : 1.0F;
    if (grown) state.largest[half] = largest;
    const float shift = state.largest[half] * scale;
    float total = state.total[half] * worth[half];
#pragma unroll
    for (int n = 0; n < Shape::kKeys / 8; ++n)
#pragma unroll
      for (int e = 2 * half; e < 2 * half + 2; ++e) {
        state.scores[n][e] = t.exp2(state.scores[n][e] * scale - shift);
        total += state.scores[n][e];
      }
    state.total[half] = total;
  }
}

template <class Shape, class Thread>
constexpr void bring_to_largest(Thread& t, WgmmaForwardState<Shape>& state, const float (&worth)[2]) {
  if (!t.any(worth[0] != 1.0F || worth[1] != 1.0F)) return;
#pragma unroll
  for (int n = 0; n < Shape::kWidth / 8; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) state.sums[n][e] *= worth[e / 2];
}

template <class Shape, class Thread>
constexpr void store_wgmma_queries(Thread& t, const WgmmaForwardState<Shape>& state, const Problem<BFloat16>& p,
                                   const Task<BFloat16>& task) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float total = state.total[half];
    total += t.shuffle_xor(total, 1);
    total += t.shuffle_xor(total, 2);
    const int row = task.tile.start + 16 * t.warp() + t.lane() / 4 + 8 * half;
    if (row < task.tile.length) store_query<Shape>(t, state.sums, half, state.largest[half], total, row, p, task);
  }
}

template <class Shape, class Thread>
constexpr void wgmma_forward_body(Thread& t, const Problem<BFloat16>& p) {
  const WgmmaForwardMemory<Shape> memory(t);
  const float scale = p.score_scale * kLog2E;
  TaskStream tasks(t, p, 0, memory.slots);
  int stage = 0, turn = 0;
  if (tasks.there()) load_wgmma_task(t, memory, turn, stage, p, tasks.task(p));
  WgmmaForwardState<Shape> state;
  while (tasks.there()) {
    const auto task = tasks.task(p);
    const int length = task.tile.length;
    const unsigned char* queries = memory.query_tile(turn);
    const bool active =
        64 * t.group() < length - task.tile.start;  // else all of the group's queries are behind the end
    int used = stage;                               // the stage of the tile of keys before
    const auto load_next = [&](int first) {
      stage = stage == kStages - 1 ? 0 : stage + 1;
      if (first < length)
        load_wgmma_keys(t, memory, stage, first, p, task);
      else if (tasks.next_there())
        load_wgmma_task(t, memory, turn ^ 1, stage, p, tasks.next(p));
    };
    float worth[2] = {1.0F, 1.0F};
    begin_tile(t);
    tasks.look_ahead(t, p);
    if (!active) {
      load_next(Shape::kKeys);
      for (int first = Shape::kKeys; first < length; first += Shape::kKeys) {
        begin_tile(t);
        load_next(first + Shape::kKeys);
      }
    } else {
      start_wgmma_queries(t, state, queries);
      t.fence_registers();
      issue_scores(t, state, queries, memory.keys(used));
      load_next(Shape::kKeys);
      t.template wait_products<0>();
      t.hold(state.scores);
      find_weights(t, state, worth, length, scale);
      pack_fragments(t, state.weights, state.scores);
      for (int first = Shape::kKeys; first < length; first += Shape::kKeys) {
        const int now = stage;
        begin_tile(t);
        t.fence_registers();
        issue_scores(t, state, queries, memory.keys(now));
        issue_sums(t, state, memory.values(used), first > Shape::kKeys);
        load_next(first + Shape::kKeys);
        t.template wait_products<1>();
        t.hold(state.scores);
        find_weights(t, state, worth, length - first, scale);
        wait_behind<0>(t, p, state.sums);
        bring_to_largest(t, state, worth);
        pack_fragments(t, state.weights, state.scores);
        used = now;
      }
      t.fence_registers();
      issue_sums(t, state, memory.values(used), length > Shape::kKeys);
      t.template wait_products<0>();
      t.hold(state.sums);
      store_wgmma_queries(t, state, p, task);
    }
    tasks.advance(t);
    turn ^= 1;
  }
}

}  // namespace lsd::backends::cuda::attention
