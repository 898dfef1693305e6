// SPDX-License-Identifier: Apache-2.0
#pragma once
// Small float32 tensors in host memory, for tests that write values by hand.

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "lsd/core/philox.h"
#include "lsd/tensor/packed_layout.h"

namespace lsd::testing {

struct HostTensor {
  explicit HostTensor(Shape its_shape) : shape(its_shape), data(static_cast<std::size_t>(its_shape.elements())) {}
  HostTensor(Shape its_shape, std::vector<float> values) : shape(its_shape), data(std::move(values)) {}
  TensorView view() { return {data.data(), DType::float32, shape}; }
  Shape shape;
  std::vector<float> data;
};

inline HostTensor random_tensor(Shape shape, std::uint32_t seed) {
  HostTensor out(shape);
  for (std::uint32_t i = 0; i < out.data.size(); ++i) {
    const auto words = random_words({seed, 77}, i, 0);
    out.data[i] = std::sqrt(-2.0F * std::log(uniform_from_word(words.word[0]))) *
                  std::cos(2.0F * std::numbers::pi_v<float> * uniform_from_word(words.word[1]));
  }
  return out;
}

// A packed layout of sequences of these lengths, then dead rows, with `spare` slots for sequences that are not there.
class HostLayout {
 public:
  HostLayout(const std::vector<int>& lengths, int dead_rows, int spare = 0) {
    offsets_.push_back(0);
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      for (int p = 0; p < lengths[s]; ++p) {
        row_sequence_.push_back(static_cast<std::int32_t>(s));
        row_position_.push_back(p);
      }
      offsets_.push_back(static_cast<std::int32_t>(row_sequence_.size()));
    }
    row_sequence_.insert(row_sequence_.end(), static_cast<std::size_t>(dead_rows), -1);
    row_position_.insert(row_position_.end(), static_cast<std::size_t>(dead_rows), 0);
    offsets_.insert(offsets_.end(), static_cast<std::size_t>(spare), offsets_.back());
    for (std::size_t s = 0; s + 1 < offsets_.size(); ++s) order_.push_back(static_cast<std::int32_t>(s));
    std::stable_sort(order_.begin(), order_.end(),
                     [this](std::int32_t a, std::int32_t b) { return length(a) > length(b); });
  }
  PackedLayout view() const {
    return {vector(offsets_), vector(row_sequence_), vector(row_position_), vector(order_), length(order_.front())};
  }

 private:
  std::int32_t length(std::int32_t s) const {
    return offsets_[static_cast<std::size_t>(s) + 1] - offsets_[static_cast<std::size_t>(s)];
  }
  static ConstTensorView vector(const std::vector<std::int32_t>& values) {
    return {values.data(), DType::int32, {static_cast<std::int64_t>(values.size())}};
  }
  std::vector<std::int32_t> offsets_, row_sequence_, row_position_, order_;
};

}  // namespace lsd::testing
