// SPDX-License-Identifier: Apache-2.0
#include "lsd/tensor/shape.h"

#include "lsd/core/error.h"

namespace lsd {

Shape::Shape(std::initializer_list<std::int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  check(dims.size() <= dims_.size(), "a shape has at most four dimensions");
  std::size_t axis = 0;
  for (const auto dim : dims) {
    check(dim >= 0, "a dimension is not negative");
    dims_[axis++] = dim;
  }
}

std::int64_t Shape::elements() const {
  if (rank_ == 0) return 0;
  std::int64_t product = 1;
  for (int axis = 0; axis < rank_; ++axis) product *= (*this)[axis];
  return product;
}

std::int64_t Shape::rows() const {
  if (rank_ == 0) return 0;
  std::int64_t product = 1;
  for (int axis = 0; axis + 1 < rank_; ++axis) product *= (*this)[axis];
  return product;
}

std::string Shape::text() const {
  std::string out = "[";
  for (int axis = 0; axis < rank_; ++axis) out += (axis ? ", " : "") + std::to_string((*this)[axis]);
  return out + "]";
}

}  // namespace lsd
