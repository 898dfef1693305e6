// SPDX-License-Identifier: Apache-2.0
#pragma once
// Matrix products through cuBLASLt. The algorithm of a shape is chosen by cuBLASLt's heuristic when the shape is first
// met and kept. A shape that cuBLASLt has none for goes to a plain kernel of ours.

#include <cuda_runtime_api.h>

#include <compare>
#include <memory>

#include "cuda_context_internal.h"

namespace lsd::backends::cuda {

// What happens to a product before it is stored.
enum class Epilogue : std::uint8_t {
  none,
  bias,        // + bias[n]
  gelu_bias,   // pre = product + bias, stored in aux; d = tanh gelu(pre)
  gelu_slope,  // d = product * tanh gelu'(aux)
};

// d[m, n] = alpha op(a) op(b) + beta d, row-major and dense. a is stored [m, k], or [k, m] when a_transposed; b is
// [k, n], or [n, k] when b_transposed. Both have one type; sums are float32 and float32 is never cut to TensorFloat-32.
struct Product {
  ConstTensorView a, b;
  TensorView d;
  std::int64_t m = 0, n = 0, k = 0;
  bool a_transposed = false, b_transposed = false;
  float alpha = 1.0F, beta = 0.0F;
  Epilogue epilogue = Epilogue::none;
  const void* bias = nullptr;  // [n], d's type
  void* aux = nullptr;         // [m, n], d's type
};

class Products {
 public:
  // Part of the scratch of every op that multiplies.
  static constexpr std::size_t kWorkspaceBytes = std::size_t{32} << 20U;

  explicit Products(const CudaContext& context);
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  void multiply(const Product& product, void* workspace);
  // As multiply; false, and nothing done, where cuBLASLt cannot do the epilogue for this shape.
  bool try_multiply(const Product& product, void* workspace);

 private:
  struct Cache;
  std::unique_ptr<Cache> cache_;
};

// The plain kernel: 32 x 32 tiles in shared memory, sums in the order of k. No epilogue.
void launch_plain_product(const CudaContext& context, const Product& product);

}  // namespace lsd::backends::cuda
