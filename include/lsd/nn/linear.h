// SPDX-License-Identifier: Apache-2.0
#pragma once
// y = x W^T + b. Outputs are the caller's memory, as in every layer here: forward writes them, backward overwrites
// input gradients and accumulates parameter gradients.

#include <cstdint>
#include <string>

#include "lsd/nn/parameter_store.h"
#include "lsd/nn/step_context.h"

namespace lsd::nn {

class Linear {
 public:
  Linear() = default;
  // Registers `name`.weight [out, in] (with decay) and `name`.bias [out] (0).
  Linear(ParameterStore& store, const std::string& name, std::int64_t in, std::int64_t out, Init weight);
  // Shares another layer's weight (a tied head); registers the bias only.
  Linear(ParameterStore& store, const std::string& name, const Parameter* weight, std::int64_t out);

  void forward(StepContext& step, ConstTensorView x, TensorView y) const;
  // y = gelu(pre), pre = x W^T + b.
  void forward_gelu(StepContext& step, ConstTensorView x, TensorView pre, TensorView y, Gelu gelu) const;
  void backward_weight(StepContext& step, ConstTensorView grad_y, ConstTensorView x) const;
  void backward_input(StepContext& step, ConstTensorView grad_y, TensorView grad_x) const;
  // For a layer whose input was gelu(gelu_input): grad_x is the gradient with respect to gelu_input.
  void backward_input_gelu(StepContext& step, ConstTensorView grad_y, ConstTensorView gelu_input, TensorView grad_x,
                           Gelu gelu) const;

 private:
  const Parameter* weight_ = nullptr;  // [out, in]
  const Parameter* bias_ = nullptr;    // [out]
};

// Deviation of initial weights: sqrt(2 / (5 width)) (Nguyen & Salazar, "Transformers without tears", 2019): 0.028 at
// width 512, near GPT's 0.02 at the widths that one was chosen for.
float small_init(std::int64_t width);

// to = from in to's type (float32 or bfloat16), same shape.
void convert(StepContext& step, ConstTensorView from, TensorView to);
// A view of `gradient` in the activation type: itself, or a rounded copy in the arena.
ConstTensorView in_activation_type(StepContext& step, ConstTensorView gradient);

}  // namespace lsd::nn
