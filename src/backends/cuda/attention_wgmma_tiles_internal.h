// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tiles in shared memory as warp-group products read them, the descriptors that name them (PTX ISA, "Asynchronous
// Warpgroup Level Matrix Shared Memory Layout"), and the order in which blocks take tasks.
//
// A tile of [rows, width] is cut into blocks of 64 columns, one after the other; a row of a block is 128 bytes, in
// which the 16 bytes of columns 8 c .. stand at place c ^ (row % 8): the 128-byte swizzle. Blocks begin at multiples of
// 1,024 bytes, where the hardware's pattern of address bits begins. The same tile serves as [n][k] (its columns are
// summed over) and as [k][n] (its rows are).

#include "attention_problem_internal.h"

namespace lsd::backends::cuda::attention {

inline constexpr int kWarpGroup = 128;                    // threads
inline constexpr int kRowBytes = 128, kAtomBytes = 1024;  // eight rows: the swizzle's period
inline constexpr int kStages = 3;  // of passing tiles: in use, still read by the products of the last one, on their way

template <int Rows, int Width>
inline constexpr int kSwizzledBytes = Rows* Width * 2;

// Where a block's aligned shared memory begins: kAtomBytes - 1 more than what is used must be there.
template <class Thread>
constexpr unsigned char* aligned_shared(Thread& t) {
  return t.shared() + (kAtomBytes - t.shared_address(t.shared()) % kAtomBytes) % kAtomBytes;
}

// Rows row0 .. row0 + Rows - 1 of a sequence of `length` rows and their head_width columns; the rest of the tile is
// zero. Asynchronous.
template <int Rows, int Width, int Threads, class Thread>
constexpr void load_swizzled(Thread& t, unsigned char* tile, HeadRows<const BFloat16> from, int row0, int length,
                             const Problem<BFloat16>& p) {
  constexpr int kChunks = Width / 8, kStep = Threads / kChunks;
  static_assert(Threads % kChunks == 0 && kStep % 8 == 0, "a thread's rows have the same place within the swizzle");
  const int first = t.index() / kChunks, chunk = t.index() % kChunks;
  unsigned char* to = tile + chunk / 8 * (Rows * kRowBytes) + first * kRowBytes + (chunk % 8 ^ first % 8) * 16;
  const auto stride = static_cast<std::int32_t>(from.stride);  // products of two 32-bit numbers are one instruction
  const BFloat16* source = from.data + std::int64_t{row0 + first} * stride + chunk * 8;
  const int left = chunk * 8 < p.head_width ? length - row0 - first : 0;  // rows from the thread's first on
#pragma unroll
  for (int row = 0; row < Rows; row += kStep, source += kStep * stride) {
    if (Rows % kStep != 0 && row + first >= Rows) break;
    const bool valid = row < left;  // else nothing is read, but checkers of memory want an address within it
    t.copy_chunk(reinterpret_cast<BFloat16*>(to + row * kRowBytes), valid ? source : from.data, valid);
  }
}

template <class Thread>
constexpr void begin_tile(Thread& t) {
  t.wait_copies();
  t.fence_copies();
  t.sync();  // this tile is there, and nobody reads the one before the last any more
}

// Bits 0-13 address, 16-29 leading and 32-45 stride byte offset, each over 16; bits 62-63: 128-byte swizzle.
constexpr std::uint64_t descriptor(std::uint32_t address, std::uint32_t leading, std::uint32_t stride) {
  return static_cast<std::uint64_t>(address >> 4U) | static_cast<std::uint64_t>(leading >> 4U) << 16U |
         static_cast<std::uint64_t>(stride >> 4U) << 32U | std::uint64_t{1} << 62U;
}

// The descriptor of what stands `bytes` further on.
constexpr std::uint64_t advanced(std::uint64_t base, int bytes) {
  return base + static_cast<std::uint64_t>(bytes / 16);
}

// Columns k .. k + 15 of the rows from `row` on, k being summed over. Groups of eight rows are kAtomBytes apart; the
// leading offset is not used with this swizzle.
template <int Rows, class Thread>
constexpr std::uint64_t by_columns(Thread& t, const unsigned char* tile, int row, int k) {
  const auto base = descriptor(t.shared_address(tile + row * kRowBytes), 16, kAtomBytes);
  return advanced(base, k / 64 * (Rows * kRowBytes) + k % 64 * 2);
}

// Rows k .. k + 15 of all columns, k being summed over. Groups of eight rows are kAtomBytes apart, blocks of 64 columns
// a whole block.
template <int Rows, class Thread>
constexpr std::uint64_t by_rows(Thread& t, const unsigned char* tile, int k) {
  return advanced(descriptor(t.shared_address(tile), Rows * kRowBytes, kAtomBytes), k * kRowBytes);
}

// Words of an A fragment: rows row0 .. row0 + 15, columns k0 .. k0 + 15 of a tile of `Rows` rows.
template <int Rows, class Thread>
constexpr void load_swizzled_a(Thread& t, std::uint32_t (&a)[4], const unsigned char* tile, int row0, int k0) {
  const int row = row0 + t.lane() % 16, chunk = k0 / 8 + t.lane() / 16;
  const unsigned char* place = tile + chunk / 8 * (Rows * kRowBytes) + row * kRowBytes + (chunk % 8 ^ row % 8) * 16;
  t.template load_matrices<false>(a, reinterpret_cast<const BFloat16*>(place));
}

// Accumulators [64, 8 * Blocks] as the A fragments of the next product.
template <int Blocks, class Thread>
constexpr void pack_fragments(Thread& t, std::uint32_t (&a)[Blocks / 2][4], const float (&c)[Blocks][4]) {
#pragma unroll
  for (int k = 0; k < Blocks / 2; ++k) {
    a[k][0] = t.pack(c[2 * k][0], c[2 * k][1]);
    a[k][1] = t.pack(c[2 * k][2], c[2 * k][3]);
    a[k][2] = t.pack(c[2 * k + 1][0], c[2 * k + 1][1]);
    a[k][3] = t.pack(c[2 * k + 1][2], c[2 * k + 1][3]);
  }
}

// Waits for `sums`, behind what stands before in the source. ptxas moves a wait to the top of its basic block, ahead of
// the powers that are to be taken while products run; so there is a branch. It is never taken, which the compiler
// cannot know, and is the same for all threads, as it must be around a wait.
template <int kPending, int kBlocks, class Thread>
constexpr void wait_behind(Thread& t, const Problem<BFloat16>& p, float (&sums)[kBlocks][4]) {
  if (p.rows < 0) {
    t.template wait_products<kPending>();
    t.hold(sums);
    sums[0][0] = 0.0F;
  } else {
    t.template wait_products<kPending>();
    t.hold(sums);
  }
}

// Tasks of a block, each known one task ahead, so that the next one's first tiles are loaded while this one ends.
class TaskStream {
 public:
  // `slots`: two words of shared memory for it alone.
  template <class Thread, class T>
  constexpr TaskStream(Thread& t, const Problem<T>& p, int which, std::int32_t* slots)
      : total_(p.counters->tiles * p.heads), counter_(&p.counters->taken[which]), slots_(slots), task_(t.block()) {
    if (t.index() == 0) slots_[0] = t.num_blocks() + t.take_number(counter_);
    if (there()) tile_ = p.tiles[task_ / p.heads];
  }

  constexpr bool there() const { return task_ < total_; }
  template <class T>
  constexpr Task<T> task(const Problem<T>& p) const {
    return Task<T>(p, tile_, task_ % p.heads);
  }
  // Once in every task, behind its first barrier; asks for the number after the next.
  template <class Thread, class T>
  constexpr void look_ahead(Thread& t, const Problem<T>& p) {
    next_ = slots_[turn_];
    if (next_there()) next_tile_ = p.tiles[next_ / p.heads];
    if (t.index() == 0) answer_ = t.num_blocks() + t.take_number(counter_);
    t.sync_warp();  // what follows asks for whole warps
  }
  constexpr bool next_there() const { return next_ < total_; }
  template <class T>
  constexpr Task<T> next(const Problem<T>& p) const {
    return Task<T>(p, next_tile_, next_ % p.heads);
  }
  // Behind the last barrier of a task. The slot was read two tasks ago; the next task's first barrier shows it to all.
  template <class Thread>
  constexpr void advance(Thread& t) {
    turn_ ^= 1;
    if (t.index() == 0) slots_[turn_] = answer_;
    task_ = next_;
    tile_ = next_tile_;
  }

 private:
  std::int32_t total_;
  std::int32_t* counter_;
  std::int32_t* slots_;
  std::int32_t task_, next_ = 0, answer_ = 0, turn_ = 0;
  Tile tile_, next_tile_;
};

}  // namespace lsd::backends::cuda::attention
