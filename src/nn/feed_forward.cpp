// SPDX-License-Identifier: Apache-2.0
#include "lsd/nn/feed_forward.h"

namespace lsd::nn {

FeedForward::FeedForward(ParameterStore& store, const std::string& name, std::int64_t width, Gelu gelu, Init down_init)
    : up_(store, name + ".up", width, 4 * width, {.kind = Init::Kind::normal, .deviation = small_init(width)}),
      down_(store, name + ".down", 4 * width, width, down_init),
      width_(width),
      gelu_(gelu) {}

void FeedForward::forward(StepContext& step, ConstTensorView x, Saved& saved, TensorView y) const {
  const auto shape = hidden_shape(x.shape().rows());
  if (!saved.pre.present()) saved.pre = step.arena.allocate(step.activation, shape);
  if (!saved.up.present()) saved.up = step.arena.allocate(step.activation, shape);
  up_.forward_gelu(step, x, saved.pre, saved.up, gelu_);
  if (y.present()) down_.forward(step, saved.up, y);
}

void FeedForward::backward(StepContext& step, ConstTensorView grad_y, ConstTensorView x, const Saved& saved,
                           TensorView grad_x) const {
  const ArenaScope scope(step.arena);
  {
    const ArenaScope up_scope(step.arena);
    TensorView up = saved.up;
    if (!up.present()) {
      up = step.arena.like(saved.pre);
      step.backend.pointwise().run(GeluForward{.x = saved.pre, .y = up, .gelu = gelu_});
    }
    down_.backward_weight(step, grad_y, up);
  }
  TensorView grad_pre = step.arena.like(saved.pre);
  down_.backward_input_gelu(step, grad_y, saved.pre, grad_pre, gelu_);
  up_.backward_weight(step, grad_pre, x);
  up_.backward_input(step, grad_pre, grad_x);
}

}  // namespace lsd::nn
