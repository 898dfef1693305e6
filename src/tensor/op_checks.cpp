// SPDX-License-Identifier: Apache-2.0
#include "op_checks_internal.h"

namespace lsd {
namespace {

constexpr DType kAll[] = {DType::float32, DType::bfloat16, DType::float16, DType::int32, DType::int64, DType::uint8};

std::string names_of(Types types) {
  std::string names;
  for (const auto type : kAll)
    if (types.holds(type)) names += (names.empty() ? "" : " or ") + std::string(name_of(type));
  return names;
}

std::string text_of(Device device) {
  return device == Device::host ? "host" : "cuda";
}

}  // namespace

void OpChecks::operand(std::string_view name, ConstTensorView view, Types types, Shape shape) {
  if (!view.present()) fail(name, "is absent; expected " + names_of(types) + " " + shape.text());
  if (!types.holds(view.dtype()))
    fail(name, "has type " + std::string(name_of(view.dtype())) + "; expected " + names_of(types));
  if (view.shape() != shape) fail(name, "has shape " + view.shape().text() + "; expected " + shape.text());
  if (any_ && view.device() != device_)
    fail(name, "is on " + text_of(view.device()) + "; expected " + text_of(device_) + ", as the operands before it");
  if (!planning_ && view.raw() == nullptr && view.elements() > 0)
    fail(name, "has no memory: it was made while planning, or by an empty allocation");
  any_ = true;
  device_ = view.device();
}

void OpChecks::optional(std::string_view name, ConstTensorView view, Types types, Shape shape) {
  if (view.present()) operand(name, view, types, shape);
}

void OpChecks::exactly_when(bool wanted, std::string_view when, std::string_view name, ConstTensorView view,
                            Types types, Shape shape) {
  if (wanted != view.present())
    fail(name,
         std::string(view.present() ? "is present" : "is absent") + "; it is there exactly when " + std::string(when));
  if (wanted) operand(name, view, types, shape);
}

void OpChecks::layout(const PackedLayout& layout, std::int64_t rows) {
  if (layout.offsets.elements() < 2)
    fail("offsets", "has shape " + layout.offsets.shape().text() + "; expected room for one sequence or more");
  operand("offsets", layout.offsets, kInt32, Shape{layout.max_sequences() + 1});
  operand("row_sequence", layout.row_sequence, kInt32, Shape{rows});
  operand("row_position", layout.row_position, kInt32, Shape{rows});
  optional("sequence_order", layout.sequence_order, kInt32, Shape{layout.max_sequences()});
}

void OpChecks::matrix(std::string_view name, ConstTensorView view) {
  if (view.shape().rank() != 2) fail(name, "has shape " + view.shape().text() + "; expected two dimensions");
}

void OpChecks::that(bool condition, std::string_view promise) const {
  if (!condition) throw InternalError(std::string(op_) + ": broken promise: " + std::string(promise));
}

void OpChecks::fail(std::string_view name, const std::string& what) const {
  throw InternalError(std::string(op_) + ": operand " + std::string(name) + " " + what);
}

}  // namespace lsd
