// SPDX-License-Identifier: Apache-2.0
#include "lsd/nn/attention.h"

namespace lsd::nn {

Attention::Attention(ParameterStore& store, const std::string& name, std::int64_t width, std::int64_t heads,
                     Init out_init, const Rotary& rotary)
    : qkv_(store, name + ".qkv", width, 3 * width, {.kind = Init::Kind::normal, .deviation = small_init(width)}),
      out_(store, name + ".out", width, width, out_init),
      width_(width),
      heads_(heads),
      rotary_(rotary) {}

Attention::Saved Attention::allocate(StepContext& step, std::int64_t rows, bool for_backward) const {
  Saved saved;
  saved.qkv = step.arena.allocate(step.activation, Shape{rows, 3 * width_});
  if (for_backward) saved.log_sum_exp = step.arena.allocate(DType::float32, Shape{heads_, rows});
  saved.mixed = step.arena.allocate(step.activation, Shape{rows, width_});
  return saved;
}

void Attention::forward_mixed(StepContext& step, const PackedLayout& layout, ConstTensorView x,
                              const Saved& saved) const {
  qkv_.forward(step, x, saved.qkv);
  step.backend.attention().run(AttentionForward{.qkv = saved.qkv,
                                                .layout = layout,
                                                .out = saved.mixed,
                                                .log_sum_exp = saved.log_sum_exp,
                                                .heads = static_cast<int>(heads_),
                                                .rotary = rotary_});
}

void Attention::forward(StepContext& step, const PackedLayout& layout, ConstTensorView x, const Saved& saved,
                        TensorView y) const {
  forward_mixed(step, layout, x, saved);
  out_.forward(step, saved.mixed, y);
}

void Attention::backward(StepContext& step, const PackedLayout& layout, ConstTensorView grad_y, ConstTensorView x,
                         const Saved& saved, TensorView grad_x) const {
  const ArenaScope scope(step.arena);
  out_.backward_weight(step, grad_y, saved.mixed);
  TensorView grad_mixed = step.arena.like(saved.mixed);
  out_.backward_input(step, grad_y, grad_mixed);
  TensorView grad_qkv = step.arena.like(saved.qkv);
  step.backend.attention().run(AttentionBackward{.grad_out = grad_mixed,
                                                 .qkv = saved.qkv,
                                                 .out = saved.mixed,
                                                 .log_sum_exp = saved.log_sum_exp,
                                                 .layout = layout,
                                                 .grad_qkv = grad_qkv,
                                                 .heads = static_cast<int>(heads_),
                                                 .rotary = rotary_});
  qkv_.backward_weight(step, grad_qkv, x);
  qkv_.backward_input(step, grad_qkv, grad_x);
}

}  // namespace lsd::nn
