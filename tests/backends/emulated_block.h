// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs the body of a kernel on the host, one block after the other, each thread as a coroutine, so that tiling,
// fragment layouts, masks and barriers are tested without a GPU. It is stricter than a GPU where that finds mistakes:
//   - between two barriers the threads run one after the other, in either order (a missing barrier shows in one of
//   them)
//   - asynchronous copies arrive at wait_copies(), not before
//   - shared memory starts as NaN and has a guard behind its end
//   - a barrier or warp operation that not all threads reach is an error, not a hang
// Matrix loads and products follow the PTX ISA's tables ("ldmatrix", "Matrix Fragments for mma.m16n8k16").

#include <ucontext.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <numbers>
#include <vector>

#include "lsd/core/error.h"
#include "lsd/tensor/dtype.h"

namespace lsd::testing {

class EmulatedBlock;

class EmulatedThread {
 public:
  EmulatedThread(EmulatedBlock& block, int index) : block_(block), index_(index) {}

  int index() const { return index_; }
  int lane() const { return index_ % 32; }
  int warp() const { return index_ / 32; }
  int block() const;
  int num_blocks() const;
  unsigned char* shared() const;

  void sync();
  void sync_warp() {}  // its threads take turns: none is ahead within an instruction of the warp
  void sync_group();   // the four warps of this thread's warp group
  float shuffle_xor(float value, int mask);
  bool any(bool value);
  template <bool kTransposed>
  void load_matrices(std::uint32_t (&words)[4], const BFloat16* row);
  void multiply(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1);
  void copy_chunk(BFloat16* to, const BFloat16* from, bool valid) {
    check(reinterpret_cast<std::uintptr_t>(to) % 16 == 0 && reinterpret_cast<std::uintptr_t>(from) % 16 == 0,
          "asynchronous copies are aligned to 16 bytes");
    copies_.push_back({to, from, 16, valid});
  }
  void copy_word(float* to, const float* from, bool valid) { copies_.push_back({to, from, sizeof(float), valid}); }
  void wait_copies() {
    for (const auto& copy : copies_) {
      if (copy.valid)
        std::memcpy(copy.to, copy.from, copy.bytes);
      else
        std::memset(copy.to, 0, copy.bytes);
    }
    copies_.clear();
  }
  int take_number(std::int32_t* counter) const { return (*counter)++; }

  std::uint32_t pack(float low, float high) const {
    return std::bit_cast<std::uint16_t>(BFloat16(low)) |
           static_cast<std::uint32_t>(std::bit_cast<std::uint16_t>(BFloat16(high))) << 16U;
  }
  float larger(float a, float b) const { return std::fmax(a, b); }
  float exp2(float x) const { return std::exp2(x); }
  float log2(float x) const { return std::log2(x); }
  double nearest(double x) const { return std::nearbyint(x); }
  void sine_cosine_pi(float x, float& sine, float& cosine) const {
    sine = static_cast<float>(std::sin(std::numbers::pi * static_cast<double>(x)));
    cosine = static_cast<float>(std::cos(std::numbers::pi * static_cast<double>(x)));
  }

 private:
  struct Copy {
    void* to;
    const void* from;
    std::size_t bytes;
    bool valid;
  };
  struct Message {  // what a lane shows to its warp
    float value;
    const BFloat16* row;
    std::uint32_t words[6];
  };
  // Shows `message` to the warp; gives the warp's 32 messages, valid until this lane's next exchange but one.
  const Message* exchange(const Message& message);
  friend class EmulatedBlock;

  EmulatedBlock& block_;
  int index_;
  std::vector<Copy> copies_;
};

// groups_in_turn: each warp group runs as far ahead of the next as barriers of the block allow.
enum class ThreadOrder { ascending, descending, groups_in_turn };

class EmulatedBlock {
 public:
  using Body = std::function<void(EmulatedThread&)>;

  EmulatedBlock(int threads, int shared_bytes, ThreadOrder order)
      : order_(order), shared_bytes_(shared_bytes), messages_(static_cast<std::size_t>(2 * threads)) {
    check(threads % 32 == 0, "a block has whole warps");
    const auto words = static_cast<std::size_t>(shared_bytes) / sizeof(std::uint32_t) + kGuardWords;
    shared_ = std::make_unique<Line[]>(words / 4 + 1);
    for (int i = 0; i < threads; ++i) fibers_.push_back(std::make_unique<Fiber>(*this, i));
  }

  // Runs blocks 0 .. num_blocks - 1 to their ends, in turn.
  void run(int num_blocks, const Body& body) {
    body_ = &body;
    num_blocks_ = num_blocks;
    for (block_ = 0; block_ < num_blocks; ++block_) run_block();
  }

 private:
  friend class EmulatedThread;
  static constexpr std::size_t kStackBytes = 256 * 1024, kGuardWords = 64;
  static constexpr std::uint32_t kPoison = 0xFFFFFFFFU;  // NaN as float32 and as bfloat16
  struct alignas(16) Line {
    std::uint32_t word[4];
  };
  enum class Waits { nothing, warp, group, block, ended };
  struct Fiber {
    Fiber(EmulatedBlock& owner, int index)
        : thread(owner, index), stack(std::make_unique_for_overwrite<unsigned char[]>(kStackBytes)) {}
    EmulatedThread thread;
    std::unique_ptr<unsigned char[]> stack;
    ucontext_t context;
    Waits waits = Waits::nothing;
    int exchanges = 0;
    std::exception_ptr error;
  };

  std::uint32_t* guard() const { return &shared_[0].word[0] + shared_bytes_ / 4; }

  void run_block() {
    auto* words = &shared_[0].word[0];
    std::fill(words, guard() + kGuardWords, kPoison);
    for (auto& fiber : fibers_) start(*fiber);
    while (resume_all()) {
    }
    for (std::size_t i = 0; i < kGuardWords; ++i)
      check(guard()[i] == kPoison, "nothing is written behind the end of shared memory");
    for (auto& fiber : fibers_) check(fiber->thread.copies_.empty(), "every asynchronous copy is waited for");
  }

  void start(Fiber& fiber) {
    check(::getcontext(&fiber.context) == 0, "a coroutine's context can be made");
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = &scheduler_;
    fiber.waits = Waits::nothing;
    const auto address = reinterpret_cast<std::uintptr_t>(&fiber);
    ::makecontext(&fiber.context, reinterpret_cast<void (*)()>(&EmulatedBlock::enter), 2,
                  static_cast<unsigned>(address >> 32U), static_cast<unsigned>(address & 0xFFFFFFFFU));
  }

  static void enter(unsigned high, unsigned low) {
    auto& fiber = *reinterpret_cast<Fiber*>(static_cast<std::uintptr_t>(high) << 32U | low);
    try {
      (*fiber.thread.block_.body_)(fiber.thread);
    } catch (...) {
      fiber.error = std::current_exception();
    }
    fiber.waits = Waits::ended;
  }

  // Lets the threads run up to the block's next barrier, then opens it.
  bool resume_all() {
    const auto count = static_cast<int>(fibers_.size());
    const int together = order_ == ThreadOrder::groups_in_turn ? 128 : count;
    for (int first = 0; first < count; first += together)
      while (resume(first, std::min(first + together, count))) {
      }
    if (open(0, count, Waits::block)) return true;
    for (const auto& fiber : fibers_)
      check(fiber->waits == Waits::ended, "all threads reach the same barriers and warp operations");
    return false;
  }

  // Lets each of these threads run up to its next wait, then opens those of warps and groups that all have reached.
  bool resume(int begin, int end) {
    for (int i = begin; i < end; ++i) {
      auto& fiber = at(order_ == ThreadOrder::descending ? begin + end - 1 - i : i);
      if (fiber.waits != Waits::nothing) continue;
      current_ = &fiber;
      ::swapcontext(&scheduler_, &fiber.context);
      if (fiber.error) std::rethrow_exception(fiber.error);
    }
    bool opened = false;
    for (int first = begin; first < end; first += 32) opened |= open(first, first + 32, Waits::warp);
    for (int first = begin; first + 128 <= end; first += 128) opened |= open(first, first + 128, Waits::group);
    return opened;
  }

  bool open(int begin, int end, Waits wait) {
    for (int i = begin; i < end; ++i)
      if (at(i).waits != wait) return false;
    for (int i = begin; i < end; ++i) at(i).waits = Waits::nothing;
    return true;
  }

  void wait(Waits what) {
    current_->waits = what;
    ::swapcontext(&current_->context, &scheduler_);
  }

  Fiber& at(int index) { return *fibers_[static_cast<std::size_t>(index)]; }

  ThreadOrder order_;
  int shared_bytes_, num_blocks_ = 1, block_ = 0;
  std::unique_ptr<Line[]> shared_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<EmulatedThread::Message> messages_;  // two per thread, used in turn
  const Body* body_ = nullptr;
  Fiber* current_ = nullptr;
  ucontext_t scheduler_;
};

inline int EmulatedThread::block() const {
  return block_.block_;
}
inline int EmulatedThread::num_blocks() const {
  return block_.num_blocks_;
}
inline unsigned char* EmulatedThread::shared() const {
  return reinterpret_cast<unsigned char*>(&block_.shared_[0].word[0]);
}
inline void EmulatedThread::sync() {
  block_.wait(EmulatedBlock::Waits::block);
}

inline void EmulatedThread::sync_group() {
  block_.wait(EmulatedBlock::Waits::group);
}

inline const EmulatedThread::Message* EmulatedThread::exchange(const Message& message) {
  const int turn = block_.at(index_).exchanges++ % 2;
  auto* mine = block_.messages_.data() + turn * static_cast<std::ptrdiff_t>(block_.fibers_.size());
  mine[index_] = message;
  block_.wait(EmulatedBlock::Waits::warp);
  return mine + warp() * 32;
}

inline float EmulatedThread::shuffle_xor(float value, int mask) {
  return exchange({value, nullptr, {}})[lane() ^ mask].value;
}

inline bool EmulatedThread::any(bool value) {
  const auto* messages = exchange({value ? 1.0F : 0.0F, nullptr, {}});
  return std::any_of(messages, messages + 32, [](const Message& message) { return message.value != 0.0F; });
}

// Lane 8 m + r names row r of matrix m; each lane receives of every matrix row lane / 4, columns 2 (lane % 4) and the
// next; transposed: of column lane / 4, those rows.
template <bool kTransposed>
void EmulatedThread::load_matrices(std::uint32_t (&words)[4], const BFloat16* row) {
  check(reinterpret_cast<std::uintptr_t>(row) % 16 == 0, "rows of matrix loads are aligned to 16 bytes");
  const auto* messages = exchange({0.0F, row, {}});
  const int group = lane() / 4, pair = lane() % 4 * 2;
  for (int m = 0; m < 4; ++m) {
    const auto* rows = messages + 8 * m;
    BFloat16 elements[2];
    for (int i = 0; i < 2; ++i) elements[i] = kTransposed ? rows[pair + i].row[group] : rows[group].row[pair + i];
    std::memcpy(&words[m], elements, sizeof elements);
  }
}

inline void EmulatedThread::multiply(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  const auto* messages = exchange({0.0F, nullptr, {a[0], a[1], a[2], a[3], b0, b1}});
  const auto element = [](std::uint32_t word, int which) {
    return std::bit_cast<float>(which == 0 ? word << 16U : word & 0xFFFF0000U);
  };
  const int group = lane() / 4, pair = lane() % 4 * 2;
  for (int e = 0; e < 4; ++e) {
    const int row = group + e / 2 * 8, column = pair + e % 2;
    float sum = c[e];
    for (int k = 0; k < 16; ++k) {
      const int from_pair = k % 8 / 2;
      const auto a_word = messages[row % 8 * 4 + from_pair].words[row / 8 + k / 8 * 2];
      const auto b_word = messages[column * 4 + from_pair].words[4 + k / 8];
      sum += element(a_word, k % 2) * element(b_word, k % 2);
    }
    c[e] = sum;
  }
}

}  // namespace lsd::testing
