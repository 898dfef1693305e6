// SPDX-License-Identifier: Apache-2.0
#pragma once
// MultivariateKl on the CPU: covariance by products, Cholesky factor and its inverse row by row, group after group.
// And which groups take part in a normalisation loss, which the univariate one asks too.

#include "cpu_internal.h"
#include "products_internal.h"

namespace lsd::backends::cpu {

inline bool takes_part(float count, float min_count) {
  return count >= min_count && count > 0.0F;
}

inline std::int64_t groups_taking_part(ConstTensorView count, float min_count) {
  std::int64_t groups = 0;
  for (const float n : count.span<float>()) groups += takes_part(n, min_count) ? 1 : 0;
  return groups;
}

inline float share_of(ConstTensorView share) {
  return share.present() ? share.data<float>()[0] : 1.0F;
}

class MultivariateDivergence {
 public:
  MultivariateDivergence(const Setup& setup, Products& products, const MultivariateKl& op);

  std::size_t scratch_bytes() const;
  // Throws SystemError when a covariance is not positive definite.
  void run(void* scratch) const;

 private:
  static constexpr std::int64_t kRows = 512;  // rows of a group gathered at a time

  // Float32 matrices [d, d] and rows of a group, in scratch.
  struct Memory {
    float *rows, *made, *factor, *inverse, *product;
    std::byte* scratch;
  };
  void add_group(std::int64_t group, float taking_part, const Memory& memory) const;
  void add_gradient(std::int64_t group, float taking_part, const Memory& memory) const;
  // Calls body(row_of, filled) with memory.rows = z - mean of up to kRows rows of the group, zero behind; row_of[i] is
  // the row of the batch that stands in row i.
  template <class Body>
  void for_rows(std::int64_t group, const Memory& memory, Body&& body) const;

  const Setup& setup_;
  Products& products_;
  const MultivariateKl& op_;
  std::int64_t d_;
  ProductShape covariance_, inverse_, gradient_;
  std::size_t product_bytes_ = 0;
};

}  // namespace lsd::backends::cpu
