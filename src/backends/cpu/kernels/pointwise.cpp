// SPDX-License-Identifier: Apache-2.0
#include "declarations_internal.h"
#include "scalar_math_internal.h"

namespace lsd::backends::cpu::LSD_CPU_ISA {
namespace {

constexpr float kTanhScale = 0.79788456080286536F;  // sqrt(2 / pi)
constexpr float kTanhCubic = 0.044715F;

}  // namespace

void widen(const std::uint16_t* __restrict x, float* __restrict y, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = float_of(static_cast<std::uint32_t>(x[i]) << 16U);
}

void narrow(const float* __restrict x, std::uint16_t* __restrict y, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) y[i] = static_cast<std::uint16_t>(bfloat16_bits_of(x[i]));
}

void gelu(const float* x, float* y, std::int64_t count, GeluKind kind) {
  if (kind == GeluKind::erf) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) y[i] = x[i] * normal_cdf_of(x[i]);
    return;
  }
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    const float u = kTanhScale * (x[i] + kTanhCubic * x[i] * x[i] * x[i]);
    y[i] = x[i] * sigmoid_of(2.0F * u);  // (1 + tanh u) / 2
  }
}

void gelu_backward(const float* grad_y, const float* x, float* grad_x, std::int64_t count, GeluKind kind) {
  if (kind == GeluKind::erf) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) {
      const float density = 0.39894228040143268F * exp_of(-0.5F * x[i] * x[i]);
      grad_x[i] = grad_y[i] * (normal_cdf_of(x[i]) + x[i] * density);
    }
    return;
  }
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    const float square = x[i] * x[i];
    const float s = sigmoid_of(2.0F * kTanhScale * (x[i] + kTanhCubic * square * x[i]));
    const float slope = 2.0F * kTanhScale * (1.0F + 3.0F * kTanhCubic * square);
    grad_x[i] = grad_y[i] * (s + x[i] * s * (1.0F - s) * slope);
  }
}

void silu(const float* x, float* y, std::int64_t count) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) y[i] = x[i] * sigmoid_of(x[i]);
}

void silu_backward(const float* grad_y, const float* x, float* grad_x, std::int64_t count) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    const float s = sigmoid_of(x[i]);
    grad_x[i] = grad_y[i] * s * (1.0F + x[i] * (1.0F - s));
  }
}

void linear_combination(float a, const float* x, float b, const float* y, float* out, std::int64_t count) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) out[i] = a * x[i] + b * y[i];
}

void scale(float a, const float* x, float* out, std::int64_t count) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) out[i] = a * x[i];
}

void add_scaled(float a, const float* x, float* sum, std::int64_t count) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) sum[i] += a * x[i];
}

void multiply(const float* x, const float* y, float* out, std::int64_t count) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) out[i] = x[i] * y[i];
}

void add_product(const float* x, const float* y, float* sum, std::int64_t count) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) sum[i] += x[i] * y[i];
}

void affine(const float* x, const float* scales, const float* shift, float* y, std::int64_t count) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) y[i] = x[i] * scales[i] + shift[i];
}

}  // namespace lsd::backends::cpu::LSD_CPU_ISA
