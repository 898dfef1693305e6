// SPDX-License-Identifier: Apache-2.0
#pragma once
// Feed-forward sublayer: width -> 4 width, GELU, -> width.

#include <cstdint>
#include <string>

#include "lsd/nn/linear.h"

namespace lsd::nn {

class FeedForward {
 public:
  struct Saved {
    TensorView pre;  // [rows, 4 * width]: GELU's input
    TensorView up;   // [rows, 4 * width]: gelu(pre); may be absent in backward, which then computes it again
  };

  FeedForward() = default;
  FeedForward(ParameterStore& store, const std::string& name, std::int64_t width, Gelu gelu, Init down_init);

  // y may be absent: only pre and up are then computed. Takes `pre` and `up` from the arena unless given.
  void forward(StepContext& step, ConstTensorView x, Saved& saved, TensorView y) const;
  void backward(StepContext& step, ConstTensorView grad_y, ConstTensorView x, const Saved& saved,
                TensorView grad_x) const;
  Shape hidden_shape(std::int64_t rows) const { return Shape{rows, 4 * width_}; }

 private:
  Linear up_, down_;
  std::int64_t width_ = 0;
  Gelu gelu_ = Gelu::tanh;
};

}  // namespace lsd::nn
