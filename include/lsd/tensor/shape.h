// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sizes of a dense row-major tensor of up to four dimensions.

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace lsd {

class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims);

  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return dims_[static_cast<std::size_t>(axis)]; }
  std::int64_t elements() const;
  // As a matrix: the last dimension is the columns, all others together the rows.
  std::int64_t columns() const { return rank_ == 0 ? 1 : dims_[static_cast<std::size_t>(rank_ - 1)]; }
  std::int64_t rows() const;
  bool operator==(const Shape&) const = default;
  std::string text() const;  // "[65536, 512]"

 private:
  std::array<std::int64_t, 4> dims_{};  // unused entries stay 0
  int rank_ = 0;
};

}  // namespace lsd
