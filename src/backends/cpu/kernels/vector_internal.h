// SPDX-License-Identifier: Apache-2.0
#pragma once
// One SIMD register as a value, and a small matrix product on registers, for the attention kernels. GCC's vector
// extension writes the same code for every register width.

#include "declarations_internal.h"

namespace lsd::backends::cpu::LSD_CPU_ISA {
namespace {

typedef float Vector __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));
typedef std::int32_t IntVector __attribute__((vector_size(kLanes * sizeof(float)), aligned(4), may_alias));

static inline Vector load(const float* from) {
  return *reinterpret_cast<const Vector*>(from);
}
static inline void store(float* to, Vector value) {
  *reinterpret_cast<Vector*>(to) = value;
}
static inline Vector splat(float value) {
  return value - Vector{};
}
static inline Vector larger(Vector a, Vector b) {
  return a > b ? a : b;
}

static inline float largest_of(Vector v) {
  float lane[kLanes];
  store(lane, v);
  float out = lane[0];
  for (int i = 1; i < kLanes; ++i) out = lane[i] > out ? lane[i] : out;
  return out;
}

static inline float sum_of_lanes(Vector v) {
  float lane[kLanes];
  store(lane, v);
  for (int step = kLanes / 2; step > 0; step /= 2)
    for (int i = 0; i < step; ++i) lane[i] += lane[i + step];
  return lane[0];
}

// 2^x for x <= 0, and 0 below -126; the polynomial of scalar_math_internal.h.
static inline Vector exp2_not_positive(Vector x) {
  const Vector round = splat(12582912.0F);
  const Vector clamped = larger(x, splat(-126.0F));
  const Vector shifted = clamped + round;
  const Vector r = clamped - (shifted - round);
  Vector p = splat(1.535336188319500e-4F);
  p = p * r + 1.339887440266574e-3F;
  p = p * r + 9.618437357674640e-3F;
  p = p * r + 5.550332471162809e-2F;
  p = p * r + 2.402264791363012e-1F;
  p = p * r + 6.931472028550421e-1F;
  p = p * r + 1.0F;
  const IntVector power = (reinterpret_cast<const IntVector&>(shifted) - reinterpret_cast<const IntVector&>(round))
                          << 23;
  const IntVector scaled = reinterpret_cast<const IntVector&>(p) + power;
  return x < -126.0F ? Vector{} : reinterpret_cast<const Vector&>(scaled);
}

// An operand that is read element by element: element (i, k) is at data[i * row_stride + k * column_stride].
struct Broadcast {
  const float* data;
  std::int64_t row_stride, column_stride;
};

// C[kRows, kVectors * kLanes] = (add ? C : 0) + A B with B and C row-major.
template <int kRows, int kVectors>
static inline void multiply_block(Broadcast a, const float* b, std::int64_t b_stride, float* c, std::int64_t c_stride,
                                  std::int64_t depth, bool add) {
  Vector sum[kRows][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) sum[i][j] = add ? load(c + i * c_stride + j * kLanes) : Vector{};
  for (std::int64_t k = 0; k < depth; ++k) {
    Vector row[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) row[j] = load(b + k * b_stride + j * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) sum[i][j] += a.data[i * a.row_stride + k * a.column_stride] * row[j];
  }
#pragma GCC unroll 16
  for (int i = 0; i < kRows; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) store(c + i * c_stride + j * kLanes, sum[i][j]);
}

// Rows per block: as many as the registers hold beside three vectors of B.
constexpr int kBlockRows = kLanes == 16 ? 8 : 4;

// C[rows, columns] = (add ? C : 0) + A B; rows a multiple of kBlockRows, columns of kLanes.
static inline void multiply_tile(Broadcast a, const float* b, std::int64_t b_stride, float* c, std::int64_t c_stride,
                                 std::int64_t rows, std::int64_t columns, std::int64_t depth, bool add) {
  for (std::int64_t j = 0; j < columns;) {
    const std::int64_t left = (columns - j) / kLanes;
    const std::int64_t vectors = left >= 5 || left == 3 ? 3 : (left >= 2 ? 2 : 1);
    for (std::int64_t i = 0; i < rows; i += kBlockRows) {
      const Broadcast block{a.data + i * a.row_stride, a.row_stride, a.column_stride};
      float* to = c + i * c_stride + j;
      if (vectors == 3)
        multiply_block<kBlockRows, 3>(block, b + j, b_stride, to, c_stride, depth, add);
      else if (vectors == 2)
        multiply_block<kBlockRows, 2>(block, b + j, b_stride, to, c_stride, depth, add);
      else
        multiply_block<kBlockRows, 1>(block, b + j, b_stride, to, c_stride, depth, add);
    }
    j += vectors * kLanes;
  }
}

}  // namespace
}  // namespace lsd::backends::cpu::LSD_CPU_ISA
