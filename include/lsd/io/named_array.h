// SPDX-License-Identifier: Apache-2.0
#pragma once
// An array of host memory with a name: what checkpoint and safetensors files hold. Knows nothing of tensors' devices.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lsd::io {

enum class ArrayType : std::uint8_t { float32, float16, bfloat16, float64, int32, int64, uint8 };

std::string_view safetensors_name(ArrayType type);  // "F32", "F16", "BF16", "F64", "I32", "I64", "U8"
std::int64_t element_bytes(ArrayType type);

struct NamedArray {
  std::string name;
  ArrayType type = ArrayType::float32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> bytes;

  template <class T>
  std::span<const T> as() const {
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
};

inline NamedArray named_floats(std::string name, std::vector<std::int64_t> shape, std::span<const float> values) {
  return {std::move(name), ArrayType::float32, std::move(shape), std::as_bytes(values)};
}
inline NamedArray named_integers(std::string name, std::vector<std::int64_t> shape,
                                 std::span<const std::int64_t> values) {
  return {std::move(name), ArrayType::int64, std::move(shape), std::as_bytes(values)};
}

}  // namespace lsd::io
