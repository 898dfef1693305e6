// SPDX-License-Identifier: Apache-2.0
#pragma once
// How much arithmetic a step holds, and how fast the backend's own matrix products are at best.

#include <cstdint>
#include <functional>
#include <vector>

#include "lsd/tensor/backend.h"

namespace lsd::tasks {

// Operations (a multiplication and an addition are two) of every product and attention that ran, recomputed ones too;
// nothing else counts. A product of [rows, in] by [in, out] has 2 rows in out, with weights' and inputs' gradients of
// their own; attention has 4 width sum(length^2) forward and 10 width sum(length^2) backward.
struct StepArithmetic {
  double products = 0.0, attention = 0.0;
  OpWork largest;  // product
  double total() const { return products + attention; }
};
StepArithmetic count_arithmetic(Backend& backend, const std::vector<std::int64_t>& lengths,
                                const std::function<void()>& step);

struct ProductRate {
  std::int64_t rows = 0, in = 0, out = 0;
  double per_second = 0.0;  // operations; 0: there was not enough memory to measure
};
// The fastest of ten linear layers of this size on random numbers. Allocates, so it comes after what it is compared
// with.
ProductRate product_rate(Backend& backend, DType type, std::int64_t rows, std::int64_t in, std::int64_t out);

}  // namespace lsd::tasks
