// SPDX-License-Identifier: Apache-2.0
#pragma once
// The words in which every op rejects operands: InternalError naming op, operand, what was expected and what came.
// An op's run() builds one OpChecks, states each operand once, and launches.

#include <string>
#include <string_view>

#include "lsd/core/error.h"
#include "lsd/tensor/packed_layout.h"
#include "lsd/tensor/view.h"

namespace lsd {

// A set of element types.
struct Types {
  unsigned bits = 0;
  constexpr bool holds(DType type) const { return (bits >> static_cast<unsigned>(type)) & 1U; }
  constexpr Types operator|(Types other) const { return {bits | other.bits}; }
};
constexpr Types only(DType type) {
  return {1U << static_cast<unsigned>(type)};
}

constexpr Types kFloat32 = only(DType::float32);
constexpr Types kInt32 = only(DType::int32);
constexpr Types kInt64 = only(DType::int64);
constexpr Types kUint8 = only(DType::uint8);
constexpr Types kActivation = kFloat32 | only(DType::bfloat16);

class OpChecks {
 public:
  // While planning, views have no memory and that is right.
  OpChecks(std::string_view op, bool planning) : op_(op), planning_(planning) {}

  void operand(std::string_view name, ConstTensorView view, Types types, Shape shape);
  void optional(std::string_view name, ConstTensorView view, Types types, Shape shape);
  // Present with that type and shape when `wanted`, absent otherwise; `when` words the rule.
  void exactly_when(bool wanted, std::string_view when, std::string_view name, ConstTensorView view, Types types,
                    Shape shape);
  void layout(const PackedLayout& layout, std::int64_t rows);
  void matrix(std::string_view name, ConstTensorView view);  // two dimensions
  void that(bool condition, std::string_view promise) const;

 private:
  [[noreturn]] void fail(std::string_view name, const std::string& what) const;

  std::string_view op_;
  bool planning_;
  bool any_ = false;
  Device device_ = Device::host;  // of the first operand: all others must share it
};

}  // namespace lsd
