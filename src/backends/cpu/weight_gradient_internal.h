// SPDX-License-Identifier: Apache-2.0
#pragma once
// LinearBackwardWeight on the CPU: sums over rows, cut into slices that never depend on the number of threads.

#include "cpu_internal.h"
#include "products_internal.h"

namespace lsd::backends::cpu {

class WeightGradient {
 public:
  WeightGradient(const Setup& setup, Products& products, const LinearBackwardWeight& op);

  std::size_t scratch_bytes() const {
    return partial_bytes_ + bias_bytes_ + thread_bytes_ * static_cast<std::size_t>(setup_.threads);
  }
  void run(void* scratch) const;  // of at least one row

 private:
  // `slices` of slice_rows rows, each making a partial sum out of products over kDepth rows, times blocks of output
  // columns.
  struct Cut {
    static constexpr std::int64_t kSlices = 8, kDepth = 512, kColumns = 256;
    std::int64_t slice_rows, slices, columns, blocks;
    Cut(std::int64_t rows, std::int64_t out);
  };

  ProductShape shape(std::int64_t rows, std::int64_t columns, bool first) const;
  void run_task(std::int64_t task, int thread, std::byte* memory) const;
  void add_bias(std::int64_t slice, std::int64_t column, std::int64_t columns, float* biases, float* buffer) const;
  void add_partials(const float* weights, const float* biases) const;
  // Where the partial sums of weights lie: in scratch, or, of a single slice, in the gradient itself.
  float* partials_in(std::byte* memory) const {
    return partial_bytes_ > 0 ? reinterpret_cast<float*>(memory) : op_.grad_weight.data<float>();
  }
  float* biases_in(std::byte* memory) const { return reinterpret_cast<float*>(memory + partial_bytes_); }

  const Setup& setup_;
  Products& products_;
  const LinearBackwardWeight& op_;
  std::int64_t rows_, in_, out_;
  Cut cut_;
  bool round_first_;  // grad_y, to x's type
  std::size_t partial_bytes_ = 0, bias_bytes_ = 0, thread_bytes_ = 0, product_bytes_ = 0;
};

}  // namespace lsd::backends::cpu
