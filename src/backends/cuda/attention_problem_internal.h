// SPDX-License-Identifier: Apache-2.0
#pragma once
// One attention op as its kernels see it: plain data, without CUDA types. The kernels' bodies are constexpr templates
// over a Thread (its index, block, barrier, shuffles, matrix instructions), so that the same bodies run on the device
// (attention_thread.cuh) and, thread by thread, on the host in tests.
//
// Work is cut into tiles: up to tile_rows rows of one sequence, times heads. A prepare kernel lists the tiles, longest
// sequence first, rotates q and k, and does what is done once per row. Blocks then take (tile, head) tasks from a
// counter until none is left; a task's result does not depend on who computes it.

#include <cstddef>
#include <cstdint>
#include <limits>

#include "lsd/tensor/dtype.h"

namespace lsd::backends::cuda::attention {

inline constexpr int kMaxHeadWidth = 128;
inline constexpr float kInfinity = std::numeric_limits<float>::infinity();
inline constexpr float kLog2E = 1.44269504088896341F, kLn2 = 0.69314718055994531F;

struct Tile {
  std::int32_t begin = 0;   // first row of the sequence
  std::int32_t length = 0;  // of the sequence
  std::int32_t start = 0;   // first row of the tile, within the sequence
  std::int32_t unused = 0;  // 16 bytes
};

struct Counters {
  std::int32_t tiles = 0;
  std::int32_t taken[2] = {0, 0};  // tasks taken beyond the first of each block, by each of the kernels that follow
};

template <class T>
struct Problem {
  const std::int32_t* offsets = nullptr;       // [max_sequences + 1]
  const std::int32_t* row_position = nullptr;  // [rows]
  const std::int32_t* order = nullptr;         // [max_sequences], longest first
  std::int32_t rows = 0, max_sequences = 0, heads = 1, head_width = 0, tile_rows = 0;
  bool wide = false;             // every head of every row starts at a multiple of 16 bytes
  const T* qkv = nullptr;        // [rows, 3 * width]
  T* rotated = nullptr;          // [rows, 2 * width]: rotate(q) | rotate(k)
  T* out = nullptr;              // [rows, width]; forward writes it, backward reads it
  float* log_sum_exp = nullptr;  // [heads, rows]; may be absent in forward
  const T* grad_out = nullptr;   // [rows, width]; backward only, like what follows
  float* delta = nullptr;        // [heads, rows]: grad_out . out, which is sum_j p_ij dp_ij
  T* grad_qkv = nullptr;         // [rows, 3 * width]
  Tile* tiles = nullptr;
  Counters* counters = nullptr;
  float score_scale = 1.0F;              // 1 / sqrt(head_width)
  double turns[kMaxHeadWidth / 2] = {};  // f_i / (2 pi): turns of pair i per position

  constexpr std::int64_t width() const { return std::int64_t{heads} * head_width; }
  constexpr std::int32_t used_rows() const { return offsets[max_sequences]; }
};

// One head's columns of some rows: element (r, c) at data[r * stride + c].
template <class T>
struct HeadRows {
  T* data;
  std::int64_t stride;
  constexpr HeadRows from_row(std::int64_t row) const { return {data + row * stride, stride}; }
};

// Row `row` and head `head` of an operand with `parts` widths per row, of which this is number `part`.
template <class T>
constexpr HeadRows<T> head_rows(T* base, std::int64_t width, int parts, int part, std::int64_t column,
                                std::int64_t row) {
  return {base + row * (parts * width) + part * width + column, parts * width};
}

// A (tile, head) pair, and the operands' rows from the first of the sequence on.
template <class T>
struct Task {
  Tile tile;
  int head;
  HeadRows<const T> q, k, v, grad_out;  // q and k rotated
  HeadRows<T> out, grad_q, grad_k, grad_v;
  std::int64_t statistics;  // where log_sum_exp and delta of the sequence begin

  constexpr Task(const Problem<T>& p, std::int32_t number) : Task(p, p.tiles[number / p.heads], number % p.heads) {}
  constexpr Task(const Problem<T>& p, Tile its_tile, int its_head)
      : tile(its_tile),
        head(its_head),
        q(head_rows<const T>(p.rotated, p.width(), 2, 0, column(p), tile.begin)),
        k(head_rows<const T>(p.rotated, p.width(), 2, 1, column(p), tile.begin)),
        v(head_rows<const T>(p.qkv, p.width(), 3, 2, column(p), tile.begin)),
        grad_out(head_rows<const T>(p.grad_out, p.width(), 1, 0, column(p), tile.begin)),
        out(head_rows<T>(p.out, p.width(), 1, 0, column(p), tile.begin)),
        grad_q(head_rows<T>(p.grad_qkv, p.width(), 3, 0, column(p), tile.begin)),
        grad_k(head_rows<T>(p.grad_qkv, p.width(), 3, 1, column(p), tile.begin)),
        grad_v(head_rows<T>(p.grad_qkv, p.width(), 3, 2, column(p), tile.begin)),
        statistics(std::int64_t{head} * p.rows + tile.begin) {}

 private:
  constexpr std::int64_t column(const Problem<T>& p) const { return std::int64_t{head} * p.head_width; }
};

// Which task comes next. All threads of a block call it; `slot` is a word of shared memory for it alone.
class TaskQueue {
 public:
  template <class Thread, class T>
  constexpr TaskQueue(Thread& t, const Problem<T>& p, int which)
      : total_(p.counters->tiles * p.heads), counter_(&p.counters->taken[which]), task_(t.block()) {}

  constexpr bool empty() const { return task_ >= total_; }
  constexpr std::int32_t task() const { return task_; }
  // Asks early, so that the answer is there when it is needed.
  template <class Thread>
  constexpr void ask(Thread& t) {
    if (t.index() == 0) answer_ = t.num_blocks() + t.take_number(counter_);
    t.sync_warp();  // what follows asks for whole warps
  }
  // Also a barrier: nobody uses the shared memory of the task before any more. The slot is free: a task has barriers of
  // its own, so everybody has read the answer before.
  template <class Thread>
  constexpr void advance(Thread& t, std::int32_t* slot) {
    if (t.index() == 0) *slot = answer_;
    t.sync();
    task_ = *slot;
  }

 private:
  std::int32_t total_;
  std::int32_t* counter_;
  std::int32_t task_;
  std::int32_t answer_ = 0;
};

// The tiles of any layout with these capacities are no more than this.
constexpr std::int64_t tile_bound(std::int64_t rows, std::int64_t max_sequences, int tile_rows) {
  return rows / tile_rows + max_sequences;
}

// Where the parts of an op's scratch stand, each 256-byte aligned.
struct ScratchPlan {
  std::int64_t counters = 0, tiles = 0, rotated = 0, delta = 0, total = 0;

  constexpr ScratchPlan(std::int64_t rows, std::int64_t width, std::int64_t heads, std::int64_t max_sequences,
                        int tile_rows, std::int64_t element_bytes, bool backward) {
    tiles = after(counters, sizeof(Counters));
    rotated = after(tiles, tile_bound(rows, max_sequences, tile_rows) * static_cast<std::int64_t>(sizeof(Tile)));
    delta = after(rotated, rows * 2 * width * element_bytes);
    total = after(delta, backward ? heads * rows * static_cast<std::int64_t>(sizeof(float)) : 0);
  }

 private:
  static constexpr std::int64_t after(std::int64_t begin, std::int64_t bytes) {
    return (begin + bytes + 255) / 256 * 256;
  }
};

}  // namespace lsd::backends::cuda::attention
