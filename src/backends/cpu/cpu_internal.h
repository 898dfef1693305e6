// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the families of the CPU backend share: the kernel table, threads over fixed blocks of work, rows of any
// activation type as float32, and scratch cut into per-thread pieces.
//
// Work is cut into blocks whose size never depends on the number of threads, and partial sums of blocks are added in
// block order, so results are the same bits for any number of threads.

#include <omp.h>
#include <xmmintrin.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <memory>

#include "kernels/kernels_internal.h"
#include "lsd/tensor/backend.h"

namespace lsd::backends::cpu {

struct Setup {
  OpContext& context;
  const Kernels& kernels;
  int threads;
};

// The backend on a given kernel table, whatever the machine's best is: tests compare all that it can run.
std::unique_ptr<Backend> make_backend_on(const Kernels& kernels, int threads);

std::unique_ptr<MatrixOps> make_matrix_ops(const Setup& setup);
std::unique_ptr<NormOps> make_norm_ops(const Setup& setup);
std::unique_ptr<AttentionOps> make_attention_ops(const Setup& setup);
std::unique_ptr<PointwiseOps> make_pointwise_ops(const Setup& setup);
std::unique_ptr<RandomOps> make_random_ops(const Setup& setup);
std::unique_ptr<LossOps> make_loss_ops(const Setup& setup);
std::unique_ptr<ReduceOps> make_reduce_ops(const Setup& setup);
std::unique_ptr<OptimizerOps> make_optimizer_ops(const Setup& setup);

// Within its scope this thread reads and writes denormal numbers as 0 (docs/numerics.md says why).
class FlushDenormals {
 public:
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | kFlushToZero | kDenormalsAreZero); }
  ~FlushDenormals() { _mm_setcsr(before_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  static constexpr unsigned kFlushToZero = 0x8000U, kDenormalsAreZero = 0x0040U;
  unsigned before_;
};

// Calls body(i, thread) for i < count; blocks are taken by whichever thread is free. What a body throws is thrown here.
template <class Body>
void parallel_for(int threads, std::int64_t count, Body&& body) {
  if (threads == 1 || count <= 1) {
    const FlushDenormals guard;
    for (std::int64_t i = 0; i < count; ++i) body(i, 0);
    return;
  }
  std::exception_ptr failure;
#pragma omp parallel num_threads(threads)
  {
    const FlushDenormals guard;
#pragma omp for schedule(dynamic)
    for (std::int64_t i = 0; i < count; ++i) {
      try {
        body(i, omp_get_thread_num());
      } catch (...) {
#pragma omp critical
        failure = std::current_exception();
      }
    }
  }
  if (failure) std::rethrow_exception(failure);
}

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

// Rows of one block of row-wise work.
constexpr std::int64_t kRowBlock = 64;
// Elements of one block of element-wise work, and of the buffers through which other types pass.
constexpr std::int64_t kChunk = 1024;

// Calls body(first, last, thread) for blocks of rows.
template <class Body>
void parallel_rows(int threads, std::int64_t rows, std::int64_t block, Body&& body) {
  parallel_for(threads, ceil_div(rows, block),
               [&](std::int64_t i, int thread) { body(i * block, std::min(rows, (i + 1) * block), thread); });
}

// Scratch memory handed out from its front in pieces of whole cache lines.
class ScratchCursor {
 public:
  explicit ScratchCursor(void* memory) : next_(static_cast<std::byte*>(memory)) {}
  template <class T>
  T* take(std::int64_t count) {
    auto* out = reinterpret_cast<T*>(next_);
    next_ += bytes_of<T>(count);
    return out;
  }
  template <class T>
  static constexpr std::size_t bytes_of(std::int64_t count) {
    return (static_cast<std::size_t>(count) * sizeof(T) + 63) / 64 * 64;
  }

 private:
  std::byte* next_;
};

constexpr std::size_t whole_lines(std::size_t bytes) {
  return ScratchCursor::bytes_of<std::byte>(static_cast<std::int64_t>(bytes));
}

// Reads pieces of an activation tensor as float32, through `buffer` when it is bfloat16. An absent tensor reads null.
class Reader {
 public:
  Reader(ConstTensorView view, const Kernels& kernels)
      : float_(view.present() && view.dtype() == DType::float32 ? view.data<float>() : nullptr),
        half_(view.present() && view.dtype() == DType::bfloat16 ? static_cast<const std::uint16_t*>(view.raw())
                                                                : nullptr),
        widen_(kernels.widen) {}
  const float* read(std::int64_t begin, std::int64_t count, float* buffer) const {
    if (float_ != nullptr) return float_ + begin;
    if (half_ == nullptr) return nullptr;
    widen_(half_ + begin, buffer, count);
    return buffer;
  }

 private:
  const float* float_;
  const std::uint16_t* half_;
  void (*widen_)(const std::uint16_t*, float*, std::int64_t);
};

// Where a piece of an activation tensor is made in float32: in place, or in `buffer` and rounded by finish().
class Writer {
 public:
  Writer(TensorView view, const Kernels& kernels)
      : float_(view.present() && view.dtype() == DType::float32 ? view.data<float>() : nullptr),
        half_(view.present() && view.dtype() == DType::bfloat16 ? static_cast<std::uint16_t*>(view.raw()) : nullptr),
        narrow_(kernels.narrow) {}
  float* target(std::int64_t begin, float* buffer) const {
    return float_ != nullptr ? float_ + begin : (half_ != nullptr ? buffer : nullptr);
  }
  void finish(std::int64_t begin, std::int64_t count, const float* made) const {
    if (half_ != nullptr) narrow_(made, half_ + begin, count);
  }
  bool rounds() const { return half_ != nullptr; }

 private:
  float* float_;
  std::uint16_t* half_;
  void (*narrow_)(const float*, std::uint16_t*, std::int64_t);
};

}  // namespace lsd::backends::cpu
