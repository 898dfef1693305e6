// SPDX-License-Identifier: Apache-2.0
#include "lsd/tensor/arena.h"

#include <algorithm>

#include "lsd/core/error.h"

namespace lsd {
namespace {

constexpr std::size_t kAlignment = 256;

}  // namespace

TensorView Arena::allocate(DType dtype, Shape shape) {
  const auto bytes = static_cast<std::size_t>(shape.elements() * size_of(dtype));
  const auto padded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const auto begin = used_;
  if (!planning_ && begin + padded > memory_.bytes())
    throw SystemError("activation memory is full: " + std::to_string(memory_.bytes()) + " bytes were planned, " +
                      std::to_string(begin + padded) + " are needed");
  used_ = begin + padded;
  peak_ = std::max(peak_, used_);
  auto* data = planning_ ? nullptr : static_cast<std::byte*>(memory_.data()) + begin;
  return {data, dtype, shape, device_};
}

}  // namespace lsd
