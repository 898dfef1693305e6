// SPDX-License-Identifier: Apache-2.0
#include "lsd/nn/time_embedding.h"

namespace lsd::nn {

TimeEmbedding::TimeEmbedding(ParameterStore& store, const std::string& name, std::int64_t features, std::int64_t width)
    : first_(store, name + ".first", features, width, {.kind = Init::Kind::normal, .deviation = small_init(features)}),
      second_(store, name + ".second", width, width, {.kind = Init::Kind::normal, .deviation = small_init(width)}),
      features_(features),
      width_(width) {}

void TimeEmbedding::forward(StepContext& step, ConstTensorView time, TensorView conditioning, Saved& saved) const {
  const auto sequences = time.elements();
  saved.features = step.arena.allocate(step.activation, Shape{sequences, features_});
  saved.hidden_pre = step.arena.allocate(step.activation, Shape{sequences, width_});
  saved.hidden = step.arena.like(saved.hidden_pre);
  saved.conditioning_pre = step.arena.like(saved.hidden_pre);
  auto& pointwise = step.backend.pointwise();
  pointwise.run(SinusoidalFeatures{.time = time, .out = saved.features});
  first_.forward(step, saved.features, saved.hidden_pre);
  pointwise.run(SiluForward{.x = saved.hidden_pre, .y = saved.hidden});
  second_.forward(step, saved.hidden, saved.conditioning_pre);
  pointwise.run(SiluForward{.x = saved.conditioning_pre, .y = conditioning});
}

void TimeEmbedding::backward(StepContext& step, ConstTensorView grad_conditioning, const Saved& saved) const {
  const ArenaScope scope(step.arena);
  auto& pointwise = step.backend.pointwise();
  TensorView grad_pre = step.arena.like(saved.conditioning_pre);
  pointwise.run(SiluBackward{.grad_y = grad_conditioning, .x = saved.conditioning_pre, .grad_x = grad_pre});
  second_.backward_weight(step, grad_pre, saved.hidden);
  TensorView grad_hidden = step.arena.like(saved.hidden);
  second_.backward_input(step, grad_pre, grad_hidden);
  TensorView grad_hidden_pre = step.arena.like(saved.hidden_pre);
  pointwise.run(SiluBackward{.grad_y = grad_hidden, .x = saved.hidden_pre, .grad_x = grad_hidden_pre});
  first_.backward_weight(step, grad_hidden_pre, saved.features);
}

}  // namespace lsd::nn
