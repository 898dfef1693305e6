// SPDX-License-Identifier: Apache-2.0
#pragma once
// Element types of tensors. Activations and the weights products read are float32 or bfloat16; statistics, losses,
// gradients' sums, masters and moments are always float32.

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace lsd {

enum class DType : std::uint8_t { float32, bfloat16, float16, int32, int64, uint8 };

constexpr std::int64_t size_of(DType type) {
  switch (type) {
    case DType::float32:
      return 4;
    case DType::bfloat16:
      return 2;
    case DType::float16:
      return 2;
    case DType::int32:
      return 4;
    case DType::int64:
      return 8;
    case DType::uint8:
      return 1;
  }
  return 0;
}

std::string_view name_of(DType type);          // "float32", ...
DType dtype_from_name(std::string_view name);  // throws UserError

// bfloat16 in host memory: the upper half of a float32, rounded to nearest even.
struct BFloat16 {
  std::uint16_t bits = 0;
  BFloat16() = default;
  constexpr explicit BFloat16(float value) : bits(round(value)) {}
  constexpr explicit operator float() const { return std::bit_cast<float>(std::uint32_t{bits} << 16U); }

 private:
  static constexpr std::uint16_t round(float value) {
    const auto word = std::bit_cast<std::uint32_t>(value);
    if ((word & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<std::uint16_t>((word >> 16U) | 0x40U);  // NaN stays NaN
    return static_cast<std::uint16_t>((word + 0x7FFFU + ((word >> 16U) & 1U)) >> 16U);
  }
};

// IEEE half precision, rounded to nearest even; for stored latents. Overflow gives infinity (the writer counts those).
std::uint16_t float16_from_float(float value);
float float_from_float16(std::uint16_t bits);

template <class T>
struct TypeTag {
  using type = T;
};

// Calls body(TypeTag<float>{}) or body(TypeTag<BFloat16>{}): the two activation types.
template <class Body>
decltype(auto) visit_dtype(DType type, Body&& body) {
  if (type == DType::bfloat16) return body(TypeTag<BFloat16>{});
  return body(TypeTag<float>{});
}

}  // namespace lsd
