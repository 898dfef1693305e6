// SPDX-License-Identifier: Apache-2.0
#include "lsd/nn/linear.h"

#include <cmath>

namespace lsd::nn {

Linear::Linear(ParameterStore& store, const std::string& name, std::int64_t in, std::int64_t out, Init weight)
    : weight_(store.add(name + ".weight", Shape{out, in}, weight, true)),
      bias_(store.add(name + ".bias", Shape{out}, {}, false)) {}

Linear::Linear(ParameterStore& store, const std::string& name, const Parameter* weight, std::int64_t out)
    : weight_(weight), bias_(store.add(name + ".bias", Shape{out}, {}, false)) {}

void Linear::forward(StepContext& step, ConstTensorView x, TensorView y) const {
  step.backend.matrix().run(LinearForward{.x = x, .weight = weight_->compute, .bias = bias_->compute, .y = y});
}

void Linear::forward_gelu(StepContext& step, ConstTensorView x, TensorView pre, TensorView y, Gelu gelu) const {
  step.backend.matrix().run(LinearForward{
      .x = x, .weight = weight_->compute, .bias = bias_->compute, .y = y, .pre_activation = pre, .gelu = gelu});
}

void Linear::backward_weight(StepContext& step, ConstTensorView grad_y, ConstTensorView x) const {
  step.backend.matrix().run(
      LinearBackwardWeight{.grad_y = grad_y, .x = x, .grad_weight = weight_->grad, .grad_bias = bias_->grad});
}

void Linear::backward_input(StepContext& step, ConstTensorView grad_y, TensorView grad_x) const {
  step.backend.matrix().run(LinearBackwardInput{.grad_y = grad_y, .weight = weight_->compute, .grad_x = grad_x});
}

void Linear::backward_input_gelu(StepContext& step, ConstTensorView grad_y, ConstTensorView gelu_input,
                                 TensorView grad_x, Gelu gelu) const {
  step.backend.matrix().run(LinearBackwardInput{
      .grad_y = grad_y, .weight = weight_->compute, .gelu_input = gelu_input, .grad_x = grad_x, .gelu = gelu});
}

float small_init(std::int64_t width) {
  return std::sqrt(2.0F / (5.0F * static_cast<float>(width)));
}

void convert(StepContext& step, ConstTensorView from, TensorView to) {
  if (from.dtype() != to.dtype())
    step.backend.pointwise().run(Cast{.x = from, .y = to});
  else if (!step.backend.planning())
    step.backend.copy_on_device(to, from);
}

ConstTensorView in_activation_type(StepContext& step, ConstTensorView gradient) {
  if (gradient.dtype() == step.activation) return gradient;
  TensorView rounded = step.arena.allocate(step.activation, gradient.shape());
  step.backend.pointwise().run(Cast{.x = gradient, .y = rounded});
  return rounded;
}

}  // namespace lsd::nn
