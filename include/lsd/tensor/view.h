// SPDX-License-Identifier: Apache-2.0
#pragma once
// Non-owning views of dense row-major tensors. A view knows its element type, shape and where its memory lives.
// An empty view (no shape) stands for an absent optional operand; while planning, views have a shape but no memory.

#include <cstddef>
#include <cstdint>
#include <span>

#include "lsd/tensor/dtype.h"
#include "lsd/tensor/shape.h"

namespace lsd {

enum class Device : std::uint8_t { host, cuda };

template <class T>
constexpr DType dtype_of();
template <>
constexpr DType dtype_of<float>() {
  return DType::float32;
}
template <>
constexpr DType dtype_of<BFloat16>() {
  return DType::bfloat16;
}
template <>
constexpr DType dtype_of<std::int32_t>() {
  return DType::int32;
}
template <>
constexpr DType dtype_of<std::int64_t>() {
  return DType::int64;
}
template <>
constexpr DType dtype_of<std::uint8_t>() {
  return DType::uint8;
}

// Throws InternalError unless `actual` is `expected` (float16 is read as its bits, std::uint16_t, by raw()).
void check_dtype(DType actual, DType expected);

class ConstTensorView {
 public:
  ConstTensorView() = default;
  ConstTensorView(const void* data, DType dtype, Shape shape, Device device = Device::host)
      : data_(data), shape_(shape), dtype_(dtype), device_(device) {}

  bool present() const { return shape_.rank() > 0; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  Device device() const { return device_; }
  std::int64_t elements() const { return shape_.elements(); }
  std::int64_t bytes() const { return elements() * size_of(dtype_); }
  const void* raw() const { return data_; }

  template <class T>
  const T* data() const {
    check_dtype(dtype_, dtype_of<T>());
    return static_cast<const T*>(data_);
  }
  template <class T>
  std::span<const T> span() const {
    return {data<T>(), static_cast<std::size_t>(elements())};
  }
  // Elements [begin, begin + count) of the flattened tensor, as a vector.
  ConstTensorView slice(std::int64_t begin, std::int64_t count) const;
  // Rows [begin, begin + count) of the matrix form.
  ConstTensorView row_range(std::int64_t begin, std::int64_t count) const;
  ConstTensorView reshaped(Shape shape) const;  // same number of elements

 private:
  const void* data_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::float32;
  Device device_ = Device::host;
};

class TensorView {
 public:
  TensorView() = default;
  TensorView(void* data, DType dtype, Shape shape, Device device = Device::host)
      : data_(data), shape_(shape), dtype_(dtype), device_(device) {}
  operator ConstTensorView() const { return {data_, dtype_, shape_, device_}; }  // NOLINT: views convert like spans

  bool present() const { return shape_.rank() > 0; }
  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  Device device() const { return device_; }
  std::int64_t elements() const { return shape_.elements(); }
  std::int64_t bytes() const { return elements() * size_of(dtype_); }
  void* raw() const { return data_; }

  template <class T>
  T* data() const {
    check_dtype(dtype_, dtype_of<T>());
    return static_cast<T*>(data_);
  }
  template <class T>
  std::span<T> span() const {
    return {data<T>(), static_cast<std::size_t>(elements())};
  }
  TensorView slice(std::int64_t begin, std::int64_t count) const;
  TensorView row_range(std::int64_t begin, std::int64_t count) const;
  TensorView reshaped(Shape shape) const;

 private:
  void* data_ = nullptr;
  Shape shape_;
  DType dtype_ = DType::float32;
  Device device_ = Device::host;
};

}  // namespace lsd
