// SPDX-License-Identifier: Apache-2.0
#pragma once
// The scalar activation functions and their derivatives in double precision.

#include <cmath>
#include <numbers>

#include "lsd/tensor/matrix_ops.h"

namespace lsd::backends::reference {

// sqrt(2 / pi) and the cubic coefficient of the tanh form (Hendrycks & Gimpel, 2016).
inline constexpr double kTanhScale = 0.79788456080286535588;
inline constexpr double kTanhCubic = 0.044715;

inline double gelu_value(double x, Gelu kind) {
  if (kind == Gelu::none) return x;
  if (kind == Gelu::erf) return 0.5 * x * (1.0 + std::erf(x / std::numbers::sqrt2));
  return 0.5 * x * (1.0 + std::tanh(kTanhScale * (x + kTanhCubic * x * x * x)));
}

inline double gelu_slope(double x, Gelu kind) {
  if (kind == Gelu::none) return 1.0;
  if (kind == Gelu::erf) {
    const double density = std::exp(-0.5 * x * x) / std::sqrt(2.0 * std::numbers::pi);
    return 0.5 * (1.0 + std::erf(x / std::numbers::sqrt2)) + x * density;
  }
  const double t = std::tanh(kTanhScale * (x + kTanhCubic * x * x * x));
  return 0.5 * (1.0 + t) + 0.5 * x * (1.0 - t * t) * kTanhScale * (1.0 + 3.0 * kTanhCubic * x * x);
}

inline double sigmoid(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

}  // namespace lsd::backends::reference
