// SPDX-License-Identifier: Apache-2.0
#pragma once
// The gradient of the conditioning [max_sequences, width]: every block's modulation adds a part. Summed in float32 from
// the last block to the first.

#include <array>
#include <utility>

#include "lsd/nn/linear.h"

namespace lsd::nn {

class ConditioningGradient {
 public:
  void start(StepContext& step, ConstTensorView conditioning) {
    auto& arena = step.arena;
    part_ = arena.like(conditioning);
    for (auto& sum : sums_) sum = arena.allocate(DType::float32, conditioning.shape());
    ones_ = arena.allocate(DType::float32, Shape{1, 2});
    first_row_ = arena.allocate(DType::int32, Shape{conditioning.shape().rows()});
    auto& pointwise = step.backend.pointwise();
    pointwise.run(Fill{.y = sums_[0], .value = 0.0F});
    pointwise.run(Fill{.y = ones_, .value = 1.0F});
    pointwise.run(Fill{.y = first_row_, .value = 0.0F});
  }

  // write(view) overwrites a view in the activation type with the part to add.
  template <class Write>
  void add(StepContext& step, Write&& write) {
    write(part_);
    const ArenaScope scope(step.arena);
    ConstTensorView part = part_;
    if (part.dtype() != DType::float32) {
      TensorView wide = step.arena.allocate(DType::float32, part.shape());
      step.backend.pointwise().run(Cast{.x = part, .y = wide});
      part = wide;
    }
    // 1 * sum + 1 * part, all rows reading the one pair of coefficients.
    step.backend.pointwise().run(LinearCombination{
        .x = sums_[0], .y = part, .coefficients = ones_, .row_sequence = first_row_, .out = sums_[1]});
    std::swap(sums_[0], sums_[1]);
  }

  void finish(StepContext& step, TensorView result) const { convert(step, sums_[0], result); }

 private:
  TensorView part_, ones_, first_row_;
  std::array<TensorView, 2> sums_;
};

}  // namespace lsd::nn
