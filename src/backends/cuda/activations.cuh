// SPDX-License-Identifier: Apache-2.0
#pragma once
// Activation functions and their slopes in float32, by the accurate library functions.

#include "lsd/tensor/matrix_ops.h"

namespace lsd::backends::cuda {

// sqrt(2 / pi) and the cubic coefficient of the tanh form (Hendrycks & Gimpel, 2016).
inline constexpr float kTanhScale = 0.79788456080286535588F;
inline constexpr float kTanhCubic = 0.044715F;
inline constexpr float kInverseRootTwoPi = 0.39894228040143267794F;

__device__ __forceinline__ float gelu_value(float x, Gelu kind) {
  if (kind == Gelu::erf) return x * normcdff(x);
  return 0.5F * x * (1.0F + tanhf(kTanhScale * (x + kTanhCubic * x * x * x)));
}

__device__ __forceinline__ float gelu_slope(float x, Gelu kind) {
  if (kind == Gelu::erf) return normcdff(x) + x * kInverseRootTwoPi * expf(-0.5F * x * x);
  const float t = tanhf(kTanhScale * (x + kTanhCubic * x * x * x));
  return 0.5F * (1.0F + t) + 0.5F * x * (1.0F - t * t) * kTanhScale * (1.0F + 3.0F * kTanhCubic * x * x);
}

__device__ __forceinline__ float sigmoid(float x) {
  return 1.0F / (1.0F + expf(-x));
}

}  // namespace lsd::backends::cuda
