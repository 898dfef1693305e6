// SPDX-License-Identifier: Apache-2.0
#include "lsd/tensor/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "lsd/core/error.h"

namespace lsd {
namespace {

// What IEEE 754 says the 16 bits mean.
double half_value(std::uint32_t bits) {
  const double sign = (bits & 0x8000U) != 0 ? -1.0 : 1.0;
  const auto exponent = static_cast<int>((bits >> 10U) & 31U), fraction = static_cast<int>(bits & 1023U);
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  return sign * std::ldexp(1024 + fraction, exponent - 25);
}

bool is_finite_half(std::uint32_t bits) {
  return ((bits >> 10U) & 31U) != 31U;
}

TEST(Float16, EveryHalfIsReadAsItsValueAndComesBack) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const float value = float_from_float16(static_cast<std::uint16_t>(bits));
    if (!is_finite_half(bits)) {
      EXPECT_EQ(std::isnan(value), (bits & 1023U) != 0) << bits;
      EXPECT_EQ(std::isinf(value), (bits & 1023U) == 0) << bits;
      if (std::isinf(value)) {
        EXPECT_EQ(float16_from_float(value), bits);
      } else {
        EXPECT_TRUE(std::isnan(float_from_float16(float16_from_float(value))));
      }
      continue;
    }
    ASSERT_EQ(static_cast<double>(value), half_value(bits)) << bits;
    ASSERT_EQ(float16_from_float(value), bits) << bits;
  }
}

// Between any two neighbours: the middle goes to the even one, anything beside it to the nearer one.
TEST(Float16, RoundsToNearestEvenBetweenAllNeighbours) {
  for (std::uint32_t bits = 0; bits < 0x7BFFU; ++bits) {
    const auto low = static_cast<float>(half_value(bits)), high = static_cast<float>(half_value(bits + 1));
    const float middle = low + (high - low) / 2.0F;  // exact: halves have 11 bits, floats 24
    const std::uint32_t even = bits % 2 == 0 ? bits : bits + 1;
    ASSERT_EQ(float16_from_float(middle), even) << bits;
    ASSERT_EQ(float16_from_float(std::nextafter(middle, low)), bits) << bits;
    ASSERT_EQ(float16_from_float(std::nextafter(middle, high)), bits + 1) << bits;
    ASSERT_EQ(float16_from_float(-middle), even | 0x8000U) << bits;
  }
}

TEST(Float16, OverflowsToInfinityFromHalfAStepAboveTheLargest) {
  EXPECT_EQ(float16_from_float(65504.0F), 0x7BFF);
  EXPECT_EQ(float16_from_float(std::nextafter(65520.0F, 0.0F)), 0x7BFF);
  EXPECT_EQ(float16_from_float(65520.0F), 0x7C00);
  EXPECT_EQ(float16_from_float(-1e30F), 0xFC00);
}

TEST(BFloat16, RoundsToNearestEvenAndKeepsNaN) {
  EXPECT_EQ(static_cast<float>(BFloat16(1.0F)), 1.0F);
  EXPECT_EQ(static_cast<float>(BFloat16(1.00390625F)), 1.0F);       // tie to even
  EXPECT_EQ(static_cast<float>(BFloat16(1.01171875F)), 1.015625F);  // tie to even
  EXPECT_EQ(static_cast<float>(BFloat16(std::nextafter(1.00390625F, 2.0F))), 1.0078125F);
  EXPECT_TRUE(std::isnan(static_cast<float>(BFloat16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isnan(static_cast<float>(BFloat16(std::bit_cast<float>(0x7F800001U)))));
  EXPECT_EQ(static_cast<float>(BFloat16(std::numeric_limits<float>::infinity())),
            std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isinf(static_cast<float>(BFloat16(std::numeric_limits<float>::max()))));
}

TEST(BFloat16, EveryValueComesBack) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto value = std::bit_cast<float>(bits << 16U);
    if (!std::isnan(value)) {
      ASSERT_EQ(BFloat16(value).bits, bits);
    }
  }
}

TEST(DType, NamesAreReadBack) {
  for (const auto type : {DType::float32, DType::bfloat16, DType::float16, DType::int32, DType::int64, DType::uint8})
    EXPECT_EQ(dtype_from_name(name_of(type)), type);
  EXPECT_THROW(dtype_from_name("double"), UserError);
}

}  // namespace
}  // namespace lsd
