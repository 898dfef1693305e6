// SPDX-License-Identifier: Apache-2.0
#pragma once
// What is done before the tiles: block 0 lists the tiles, the other blocks rotate q and k, form delta (backward) and
// zero the dead rows of the outputs.

#include "attention_problem_internal.h"

namespace lsd::backends::cuda::attention {

inline constexpr int kPrepareThreads = 256;

// Turns to the angle's cosine and sine. The turn is formed in double from the integer position and reduced before it is
// rounded to float32, so the angle's error does not grow with the position.
struct Rotation {
  float cosine = 1.0F, sine = 0.0F;

  template <class Thread, class T>
  constexpr Rotation(Thread& t, const Problem<T>& p, std::int32_t position, int pair) {
    const double turn = p.turns[pair] * position;
    t.sine_cosine_pi(2.0F * static_cast<float>(turn - t.nearest(turn)), sine, cosine);
  }
};

// Lists the tiles of all sequences in the given order; `shared` holds kPrepareThreads + 1 words.
template <class Thread, class T>
constexpr void list_tiles(Thread& t, const Problem<T>& p, std::int32_t* shared) {
  const int self = t.index();
  std::int32_t before = 0;  // tiles of earlier chunks of sequences
  for (std::int32_t chunk = 0; chunk < p.max_sequences; chunk += kPrepareThreads) {
    Tile tile;
    if (chunk + self < p.max_sequences) {
      const std::int32_t sequence = p.order[chunk + self];
      tile.begin = p.offsets[sequence];
      tile.length = p.offsets[sequence + 1] - tile.begin;
    }
    const std::int32_t count = (tile.length + p.tile_rows - 1) / p.tile_rows;
    std::int32_t sum = count;  // of this and all earlier threads
    for (int step = 1; step < kPrepareThreads; step *= 2) {
      t.sync();
      shared[self] = sum;
      t.sync();
      if (self >= step) sum += shared[self - step];
    }
    for (std::int32_t i = 0; i < count; ++i) {
      tile.start = i * p.tile_rows;
      p.tiles[before + sum - count + i] = tile;
    }
    if (self == kPrepareThreads - 1) shared[kPrepareThreads] = sum;
    t.sync();
    before += shared[kPrepareThreads];
  }
  if (self == 0) *p.counters = {before, {0, 0}};
}

// V elements that are read and written at once.
template <class T, int V>
struct alignas(sizeof(T) * V) Pack {
  T value[V];
};

// Rotates q and k of all heads: one thread for V pairs of a row.
template <int V, class Thread, class T>
constexpr void rotate_rows(Thread& t, const Problem<T>& p, std::int32_t thread, std::int32_t threads) {
  const std::int32_t half = p.head_width / 2, groups = half / V;
  const std::int64_t width = p.width();
  for (std::int32_t item = thread; item < p.used_rows() * groups; item += threads) {
    const std::int64_t row = item / groups;
    const std::int32_t pair = item % groups * V, position = p.row_position[row];
    float cosine[V], sine[V];
#pragma unroll
    for (int i = 0; i < V; ++i) {
      const Rotation rotation(t, p, position, pair + i);
      cosine[i] = rotation.cosine;
      sine[i] = rotation.sine;
    }
    for (int head = 0; head < 2 * p.heads; ++head) {  // the heads of q, then those of k
      const std::int64_t column = std::int64_t{head} * p.head_width + pair;
      const T* from = p.qkv + row * 3 * width + column;
      T* to = p.rotated + row * 2 * width + column;
      const auto a = *reinterpret_cast<const Pack<T, V>*>(from), b = *reinterpret_cast<const Pack<T, V>*>(from + half);
      Pack<T, V> first, second;
#pragma unroll
      for (int i = 0; i < V; ++i) {
        const float x = static_cast<float>(a.value[i]), y = static_cast<float>(b.value[i]);
        first.value[i] = T(x * cosine[i] - y * sine[i]);
        second.value[i] = T(y * cosine[i] + x * sine[i]);
      }
      *reinterpret_cast<Pack<T, V>*>(to) = first;
      *reinterpret_cast<Pack<T, V>*>(to + half) = second;
    }
  }
}

// delta = grad_out . out per row and head: eight lanes for each, V elements at once.
template <int V, class Thread, class T>
constexpr void sum_delta(Thread& t, const Problem<T>& p, std::int32_t thread, std::int32_t threads) {
  constexpr int kLanes = 8;
  const std::int32_t total = p.used_rows() * p.heads, lane = thread % kLanes;
  const std::int32_t warp_first = thread / 32 * (32 / kLanes);  // whole warps stay together for the shuffles
  for (std::int32_t first = warp_first; first < total; first += threads / kLanes) {
    const std::int32_t item = first + thread % 32 / kLanes;
    float sum = 0.0F;
    if (item < total) {
      const std::int64_t at = std::int64_t{item} * p.head_width;  // [rows, heads, head_width]
      for (std::int32_t c = lane * V; c < p.head_width; c += kLanes * V) {
        const auto a = *reinterpret_cast<const Pack<T, V>*>(p.grad_out + at + c);
        const auto b = *reinterpret_cast<const Pack<T, V>*>(p.out + at + c);
#pragma unroll
        for (int i = 0; i < V; ++i) sum += static_cast<float>(a.value[i]) * static_cast<float>(b.value[i]);
      }
    }
    for (int distance = kLanes / 2; distance > 0; distance /= 2) sum += t.shuffle_xor(sum, distance);
    if (item < total && lane == 0) p.delta[std::int64_t{item % p.heads} * p.rows + item / p.heads] = sum;
  }
}

template <class T>
constexpr void zero_dead_rows(const Problem<T>& p, bool backward, std::int32_t thread, std::int32_t threads) {
  const std::int64_t used = p.used_rows(), columns = (backward ? 3 : 1) * p.width();
  T* out = backward ? p.grad_qkv : p.out;
  for (std::int64_t i = used * columns + thread; i < p.rows * columns; i += threads) out[i] = T(0.0F);
  if (backward || p.log_sum_exp == nullptr) return;
  for (int head = 0; head < p.heads; ++head)
    for (std::int64_t row = used + thread; row < p.rows; row += threads) p.log_sum_exp[head * p.rows + row] = 0.0F;
}

// `shared` holds kPrepareThreads + 1 words; at least two blocks.
template <class Thread, class T>
constexpr void prepare_body(Thread& t, const Problem<T>& p, bool backward) {
  if (t.block() == 0) {
    list_tiles(t, p, reinterpret_cast<std::int32_t*>(t.shared()));
    return;
  }
  const std::int32_t thread = (t.block() - 1) * kPrepareThreads + t.index();
  const std::int32_t threads = (t.num_blocks() - 1) * kPrepareThreads;
  constexpr int kElements = 16 / sizeof(T);
  if (p.wide) {
    rotate_rows<4>(t, p, thread, threads);
    if (backward) sum_delta<kElements>(t, p, thread, threads);
  } else {
    rotate_rows<1>(t, p, thread, threads);
    if (backward) sum_delta<1>(t, p, thread, threads);
  }
  zero_dead_rows(p, backward, thread, threads);
}

}  // namespace lsd::backends::cuda::attention
