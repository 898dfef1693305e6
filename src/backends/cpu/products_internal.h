// SPDX-License-Identifier: Apache-2.0
#pragma once
// Matrix products by oneDNN (docs/decisions/0001-cpu-matrix-products.md). Each product runs in the calling thread; the
// families cut their work into products of fixed sizes and share those out, so that results do not depend on threads.

#include <cstddef>
#include <cstdint>
#include <memory>

#include "lsd/tensor/view.h"

namespace lsd::backends::cpu {

// C[m, n] (+)= A[m, k] B[k, n] (+ bias[n]); C is dense. `transposed` operands are stored the other way round:
// A as [k, m] with row stride a_stride, B as [n, k] with row stride b_stride.
struct ProductShape {
  DType a = DType::float32, c = DType::float32;  // B has A's type, bias too
  std::int64_t m = 0, n = 0, k = 0;
  std::int64_t a_stride = 0, b_stride = 0;
  bool a_transposed = false, b_transposed = false;
  bool bias = false, add = false;
  bool packed = false;  // B comes from pack(), in oneDNN's own layout
  auto operator<=>(const ProductShape&) const = default;
};

// Products are made at first use of a shape and kept: planning meets every shape, so steps find them ready.
class Products {
 public:
  Products();
  ~Products();
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  struct Needs {
    std::size_t scratch_bytes, packed_bytes;
  };
  Needs needs(const ProductShape& shape);
  // Puts B, as `shape` describes it, into the layout that products of this shape want; `m` may differ between uses.
  void pack(const ProductShape& shape, const void* b, void* packed);
  // Prepares the shape; after that, multiply() may be called from many threads at once.
  void multiply(const ProductShape& shape, const void* a, const void* b, const void* bias, void* c,
                void* scratch) const;

 private:
  struct Prepared;
  Prepared& prepare(const ProductShape& shape);
  struct Cache;
  std::unique_ptr<Cache> cache_;
};

}  // namespace lsd::backends::cpu
