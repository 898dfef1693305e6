// SPDX-License-Identifier: Apache-2.0
#pragma once
// exp, log, sine, cosine and the normal distribution in float32, without branches or tables, so that the compiler turns
// a loop over them into vector code. Errors against double precision are in tests/backends/scalar_math_test.cpp.
// Included only by files of this folder: static functions in an instruction set's own namespace.

#include <cstdint>

namespace lsd::backends::cpu::LSD_CPU_ISA {
namespace {

static inline std::uint32_t bits_of(float x) {
  return __builtin_bit_cast(std::uint32_t, x);
}
static inline float float_of(std::uint32_t x) {
  return __builtin_bit_cast(float, x);
}

// Upper half of x, rounded to nearest even; NaN stays NaN.
static inline std::uint32_t bfloat16_bits_of(float x) {
  const std::uint32_t word = bits_of(x);
  const std::uint32_t rounded = (word + 0x7FFFU + ((word >> 16U) & 1U)) >> 16U;
  return (word & 0x7FFFFFFFU) > 0x7F800000U ? (word >> 16U) | 0x40U : rounded;
}
static inline float rounded_to_bfloat16(float x) {
  return float_of(bfloat16_bits_of(x) << 16U);
}

// Adding 1.5 * 2^23 leaves the nearest integer in the low mantissa bits.
constexpr float kRound = 12582912.0F;

// 2^x for x <= 128; 0 below -126 (no denormals). Polynomial of Cephes' exp2f on [-1/2, 1/2].
static inline float exp2_of(float x) {
  const float clamped = x < -126.0F ? -126.0F : (x > 127.99999F ? 127.99999F : x);
  const float shifted = clamped + kRound;
  const float r = clamped - (shifted - kRound);
  float p = 1.535336188319500e-4F;
  p = p * r + 1.339887440266574e-3F;
  p = p * r + 9.618437357674640e-3F;
  p = p * r + 5.550332471162809e-2F;
  p = p * r + 2.402264791363012e-1F;
  p = p * r + 6.931472028550421e-1F;
  p = p * r + 1.0F;
  // Multiply by 2^n in two halves, as 2^128 is no float.
  const std::int32_t n = static_cast<std::int32_t>(bits_of(shifted) - bits_of(kRound));
  const std::int32_t half = n >> 1;
  const float low = float_of(static_cast<std::uint32_t>(half + 127) << 23U);
  const float high = float_of(static_cast<std::uint32_t>(n - half + 127) << 23U);
  const float value = p * low * high;
  return x < -126.0F ? 0.0F : value;
}

// e^x, 0 below -87.3 and infinite above 88.72: the product x log2(e) is carried in two parts, so the relative error
// stays near one ulp for large |x|.
static inline float exp_of(float x) {
  const float clamped = x < -87.3F ? -87.3F : (x > 88.72F ? 88.72F : x);
  const float shifted = clamped * 1.44269504088896341F + kRound;
  const float n = shifted - kRound;
  float r = clamped - n * 0.693359375F;
  r = r - n * -2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * (r * r) + r + 1.0F;
  const std::int32_t k = static_cast<std::int32_t>(bits_of(shifted) - bits_of(kRound));
  const std::int32_t half = k >> 1;
  const float low = float_of(static_cast<std::uint32_t>(half + 127) << 23U);
  const float high = float_of(static_cast<std::uint32_t>(k - half + 127) << 23U);
  const float value = p * low * high;
  return x < -87.3F ? 0.0F : (x > 88.72F ? __builtin_inff() : value);
}

// ln x for positive normal x. Cephes' logf: mantissa in [sqrt(1/2), sqrt(2)).
static inline float log_of(float x) {
  const std::uint32_t word = bits_of(x) - 0x3F3504F3U;  // sqrt(1/2)
  const float exponent = static_cast<float>(static_cast<std::int32_t>(word) >> 23);
  const float m = float_of((word & 0x007FFFFFU) + 0x3F3504F3U) - 1.0F;
  float p = 7.0376836292e-2F;
  p = p * m - 1.1514610310e-1F;
  p = p * m + 1.1676998740e-1F;
  p = p * m - 1.2420140846e-1F;
  p = p * m + 1.4249322787e-1F;
  p = p * m - 1.6668057665e-1F;
  p = p * m + 2.0000714765e-1F;
  p = p * m - 2.4999993993e-1F;
  p = p * m + 3.3333331174e-1F;
  const float square = m * m;
  const float tail = p * m * square - 2.12194440e-4F * exponent - 0.5F * square;
  return m + tail + 0.693359375F * exponent;
}

// sin and cos of 2 pi turn, |turn| < 2^21: the quarter is exact, the rest lies in [-pi/4, pi/4].
static inline void sincos_of_turn(float turn, float& sine, float& cosine) {
  const float quarters = turn * 4.0F;
  const float shifted = quarters + kRound;
  const float rest = quarters - (shifted - kRound);
  const std::uint32_t quadrant = bits_of(shifted) & 3U;
  const float a = rest * 1.57079632679489662F, square = a * a;
  float s = -1.9515295891e-4F;
  s = s * square + 8.3321608736e-3F;
  s = s * square - 1.6666654611e-1F;
  s = s * square * a + a;
  float c = 2.443315711809948e-5F;
  c = c * square - 1.388731625493765e-3F;
  c = c * square + 4.166664568298827e-2F;
  c = c * square * square - 0.5F * square + 1.0F;
  const float first = (quadrant & 1U) != 0 ? c : s, second = (quadrant & 1U) != 0 ? s : c;
  sine = float_of(bits_of(first) ^ ((quadrant & 2U) << 30U));
  cosine = float_of(bits_of(second) ^ (((quadrant + 1U) & 2U) << 30U));
}

static inline float sigmoid_of(float x) {
  return 1.0F / (1.0F + exp_of(-x));
}

// Phi(x), the standard normal distribution, through erfc (Numerical Recipes, section 6.2: fractional error 1.2e-7).
static inline float normal_cdf_of(float x) {
  const float a = (x < 0.0F ? -x : x) * 0.70710678118654752F;
  const float t = 1.0F / (1.0F + 0.5F * a);
  float p = 0.17087277F;
  p = p * t - 0.82215223F;
  p = p * t + 1.48851587F;
  p = p * t - 1.13520398F;
  p = p * t + 0.27886807F;
  p = p * t - 0.18628806F;
  p = p * t + 0.09678418F;
  p = p * t + 0.37409196F;
  p = p * t + 1.00002368F;
  p = p * t - 1.26551223F;
  const float tail = 0.5F * t * exp_of(p - a * a);
  return x < 0.0F ? tail : 1.0F - tail;
}

}  // namespace
}  // namespace lsd::backends::cpu::LSD_CPU_ISA
