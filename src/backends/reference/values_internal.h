// SPDX-License-Identifier: Apache-2.0
#pragma once
// Element access for the reference backend: any activation type is read and written as double, one element at a time.
// Slow and plain on purpose.

#include <vector>

#include "lsd/tensor/view.h"

namespace lsd::backends::reference {

class ConstValues {
 public:
  ConstValues(ConstTensorView view) : view_(view) {}  // NOLINT: a view read as numbers
  ConstValues(TensorView view) : view_(view) {}       // NOLINT
  double operator[](std::int64_t i) const {
    if (view_.dtype() == DType::bfloat16) return static_cast<float>(view_.data<BFloat16>()[i]);
    return view_.data<float>()[i];
  }

 private:
  ConstTensorView view_;
};

class Values {
 public:
  Values(TensorView view) : view_(view) {}  // NOLINT
  double operator[](std::int64_t i) const { return ConstValues(view_)[i]; }
  void set(std::int64_t i, double value) const {
    if (view_.dtype() == DType::bfloat16)
      view_.data<BFloat16>()[i] = BFloat16(static_cast<float>(value));
    else
      view_.data<float>()[i] = static_cast<float>(value);
  }
  void add(std::int64_t i, double value) const { set(i, (*this)[i] + value); }

 private:
  TensorView view_;
};

inline std::vector<double> to_doubles(ConstTensorView view) {
  std::vector<double> out(static_cast<std::size_t>(view.elements()));
  const ConstValues values(view);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = values[static_cast<std::int64_t>(i)];
  return out;
}

}  // namespace lsd::backends::reference
