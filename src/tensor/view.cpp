// SPDX-License-Identifier: Apache-2.0
#include "lsd/tensor/view.h"

#include "lsd/core/error.h"

namespace lsd {
namespace {

// Both kinds of view cut in the same way; only the pointer's constness differs.
template <class View, class Pointer>
View sliced(Pointer* data, const View& view, std::int64_t begin, std::int64_t count, Shape shape) {
  check(begin >= 0 && count >= 0 && begin + count <= view.elements(), "a slice lies within its tensor");
  using Byte = std::conditional_t<std::is_const_v<Pointer>, const std::byte, std::byte>;
  auto* bytes = static_cast<Byte*>(data);
  return View(bytes ? bytes + begin * size_of(view.dtype()) : nullptr, view.dtype(), shape, view.device());
}

template <class View, class Pointer>
View rows_of(Pointer* data, const View& view, std::int64_t begin, std::int64_t count) {
  const auto columns = view.shape().columns();
  return sliced(data, view, begin * columns, count * columns, Shape{count, columns});
}

template <class View, class Pointer>
View with_shape(Pointer* data, const View& view, Shape shape) {
  check(shape.elements() == view.elements(), "reshaping keeps the number of elements");
  return View(data, view.dtype(), shape, view.device());
}

}  // namespace

void check_dtype(DType actual, DType expected) {
  if (actual != expected)
    throw InternalError("a " + std::string(name_of(actual)) + " tensor was read as " + std::string(name_of(expected)));
}

ConstTensorView ConstTensorView::slice(std::int64_t begin, std::int64_t count) const {
  return sliced(data_, *this, begin, count, Shape{count});
}
ConstTensorView ConstTensorView::row_range(std::int64_t begin, std::int64_t count) const {
  return rows_of(data_, *this, begin, count);
}
ConstTensorView ConstTensorView::reshaped(Shape shape) const {
  return with_shape(data_, *this, shape);
}

TensorView TensorView::slice(std::int64_t begin, std::int64_t count) const {
  return sliced(data_, *this, begin, count, Shape{count});
}
TensorView TensorView::row_range(std::int64_t begin, std::int64_t count) const {
  return rows_of(data_, *this, begin, count);
}
TensorView TensorView::reshaped(Shape shape) const {
  return with_shape(data_, *this, shape);
}

}  // namespace lsd
