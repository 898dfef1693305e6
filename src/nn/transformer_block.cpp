// SPDX-License-Identifier: Apache-2.0
#include "lsd/nn/transformer_block.h"

#include <cmath>

#include "lsd/nn/adaptive_norm.h"

namespace lsd::nn {
namespace {

// Both sublayers of every block add to the stream: scaled so that its variance does not grow with depth (GPT-2).
Init residual_init(const StackShape& shape) {
  return {.kind = Init::Kind::normal,
          .deviation = small_init(shape.width) / std::sqrt(2.0F * static_cast<float>(shape.layers))};
}

AdaptiveNorm site_of(const Modulation& modulation, int which) {
  if (which == 1)
    return {.gate_modulation = modulation.previous,
            .modulation = modulation.own,
            .grad_gate_modulation = modulation.grad_previous,
            .grad_modulation = modulation.grad_own,
            .gate_chunk = TransformerBlock::kFeedForwardGate,
            .shift_chunk = 0,
            .scale_chunk = 1};
  return {.gate_modulation = modulation.own,
          .modulation = modulation.own,
          .grad_gate_modulation = modulation.grad_own,
          .grad_modulation = modulation.grad_own,
          .gate_chunk = 2,
          .shift_chunk = 3,
          .scale_chunk = 4};
}

}  // namespace

Keep keep_for(Recompute recompute) {
  switch (recompute) {
    case Recompute::none:
      return Keep::everything;
    case Recompute::pointwise:
      return Keep::products;
    case Recompute::block:
      return Keep::input;
  }
  return Keep::everything;
}

TransformerBlock::TransformerBlock(ParameterStore& store, const std::string& name, const StackShape& shape)
    : width_(shape.width), adaptive_(shape.adaptive) {
  if (!adaptive_) norm1_ = LayerNorm(store, name + ".attention.norm", width_);
  attention_ = Attention(store, name + ".attention", width_, shape.heads, residual_init(shape), shape.rotary);
  if (!adaptive_) norm2_ = LayerNorm(store, name + ".feed_forward.norm", width_);
  feed_forward_ = FeedForward(store, name + ".feed_forward", width_, shape.gelu, residual_init(shape));
  if (adaptive_) modulation_ = Linear(store, name + ".modulation", width_, kChunks * width_, {});
}

void TransformerBlock::forward(StepContext& step, const PackedLayout& layout, const Modulation& modulation,
                               Stream& stream, Keep keep, Saved& saved) const {
  auto& arena = step.arena;
  const Shape shape{stream.x.shape().rows(), width_};
  if (adaptive_ && keep != Keep::nothing) saved.delta_in = stream.delta;
  TensorView sum1;
  if (stream.delta.present()) sum1 = keep == Keep::nothing ? stream.spare1 : arena.allocate(step.residual, shape);
  TensorView mid = stream.delta_out;
  if (adaptive_ && keep >= Keep::products) saved.mid = mid = arena.allocate(step.activation, shape);
  attention_half(step, layout, modulation, stream, sum1, mid, keep, saved);

  const Stream between{.x = saved.norm1.sum, .delta = mid};
  TensorView sum2 = keep >= Keep::products ? arena.allocate(step.residual, shape) : stream.spare2;
  feed_forward_half(step, layout, modulation, between, sum2, stream.delta_out, keep, saved);
  stream.x = sum2;
  stream.delta = stream.delta_out;
}

void TransformerBlock::attention_half(StepContext& step, const PackedLayout& layout, const Modulation& modulation,
                                      const Stream& in, TensorView sum, TensorView mid, Keep keep, Saved& saved) const {
  const auto rows = in.x.shape().rows();
  if (keep >= Keep::products) {
    allocate_statistics(step, rows, saved.norm1);
    saved.attention = attention_.allocate(step, rows, true);
  }
  if (keep == Keep::everything) saved.y1 = step.arena.allocate(step.activation, Shape{rows, width_});

  const ArenaScope scope(step.arena);
  TensorView y = keep == Keep::everything ? saved.y1 : step.arena.allocate(step.activation, Shape{rows, width_});
  NormSaved statistics = saved.norm1;
  norm_forward(step, layout, modulation, 1, in, sum, y, statistics);
  saved.norm1.sum = statistics.sum;
  attention_.forward(step, layout, y, keep >= Keep::products ? saved.attention : attention_.allocate(step, rows, false),
                     mid);
}

void TransformerBlock::feed_forward_half(StepContext& step, const PackedLayout& layout, const Modulation& modulation,
                                         const Stream& in, TensorView sum, TensorView out, Keep keep,
                                         Saved& saved) const {
  const auto rows = in.x.shape().rows();
  auto& arena = step.arena;
  if (keep >= Keep::products) {
    allocate_statistics(step, rows, saved.norm2);
    saved.feed_forward.pre = arena.allocate(step.activation, feed_forward_.hidden_shape(rows));
  }
  if (keep == Keep::everything) {
    saved.y2 = arena.allocate(step.activation, Shape{rows, width_});
    saved.feed_forward.up = arena.allocate(step.activation, feed_forward_.hidden_shape(rows));
  }

  const ArenaScope scope(arena);
  TensorView y = keep == Keep::everything ? saved.y2 : arena.allocate(step.activation, Shape{rows, width_});
  NormSaved statistics = saved.norm2;
  norm_forward(step, layout, modulation, 2, in, sum, y, statistics);
  saved.norm2.sum = statistics.sum;
  FeedForward::Saved hidden = saved.feed_forward;
  feed_forward_.forward(step, y, hidden, out);
}

TransformerBlock::Saved TransformerBlock::recompute(StepContext& step, const PackedLayout& layout,
                                                    const Modulation& modulation, const Saved& saved) const {
  Saved full;
  const Shape shape = saved.norm1.sum.shape();
  TensorView mid = step.arena.allocate(step.activation, shape);
  TensorView sum2 = step.arena.allocate(step.residual, shape);
  attention_half(step, layout, modulation, Stream{.x = saved.norm1.sum}, {}, mid, Keep::everything, full);
  feed_forward_half(step, layout, modulation, Stream{.x = saved.norm1.sum, .delta = mid}, sum2, {}, Keep::everything,
                    full);
  full.delta_in = saved.delta_in;
  if (adaptive_) full.mid = mid;
  return full;
}

void TransformerBlock::backward(StepContext& step, const PackedLayout& layout, const Modulation& modulation,
                                ConstTensorView grad_sum, ConstTensorView grad_delta, const Saved& saved, Keep keep,
                                TensorView grad_x, TensorView grad_delta_in) const {
  auto& arena = step.arena;
  const ArenaScope scope(arena);
  const Saved full = keep == Keep::input ? recompute(step, layout, modulation, saved) : saved;
  const Shape shape = full.norm1.sum.shape();
  TensorView grad_between = arena.allocate(step.residual, shape);
  TensorView grad_mid = adaptive_ ? arena.allocate(step.activation, shape) : TensorView();
  {
    const ArenaScope half(arena);
    TensorView y = normed_again(step, layout, modulation, 2, full.y2, full.norm2);
    TensorView grad_y = arena.allocate(step.activation, shape);
    feed_forward_.backward(step, in_activation_type(step, grad_delta), y, full.feed_forward, grad_y);
    norm_backward(step, layout, modulation, 2, grad_y, full.norm2, grad_sum, full.mid, grad_between, grad_mid);
  }
  TensorView y = normed_again(step, layout, modulation, 1, full.y1, full.norm1);
  TensorView grad_y = arena.allocate(step.activation, shape);
  const auto grad_out = adaptive_ ? ConstTensorView(grad_mid) : in_activation_type(step, grad_between);
  attention_.backward(step, layout, grad_out, y, full.attention, grad_y);
  norm_backward(step, layout, modulation, 1, grad_y, full.norm1, grad_between, full.delta_in, grad_x, grad_delta_in);
}

void TransformerBlock::norm_forward(StepContext& step, const PackedLayout& layout, const Modulation& modulation,
                                    int which, const Stream& in, TensorView sum, TensorView y, NormSaved& saved) const {
  if (adaptive_) return site_of(modulation, which).forward(step, layout, in.x, in.delta, sum, y, saved);
  (which == 1 ? norm1_ : norm2_).forward(step, in.x, in.delta, sum, y, saved);
}

void TransformerBlock::norm_backward(StepContext& step, const PackedLayout& layout, const Modulation& modulation,
                                     int which, ConstTensorView grad_y, const NormSaved& saved,
                                     ConstTensorView grad_sum, ConstTensorView delta, TensorView grad_x,
                                     TensorView grad_delta) const {
  if (adaptive_)
    return site_of(modulation, which).backward(step, layout, grad_y, saved, grad_sum, delta, grad_x, grad_delta);
  (which == 1 ? norm1_ : norm2_).backward(step, grad_y, saved, grad_sum, grad_x);
}

TensorView TransformerBlock::normed_again(StepContext& step, const PackedLayout& layout, const Modulation& modulation,
                                          int which, TensorView kept, const NormSaved& saved) const {
  if (kept.present()) return kept;
  TensorView y = step.arena.allocate(step.activation, saved.sum.shape());
  NormSaved statistics;
  norm_forward(step, layout, modulation, which, Stream{.x = saved.sum}, {}, y, statistics);
  return y;
}

void TransformerBlock::modulate(StepContext& step, ConstTensorView conditioning, TensorView modulation) const {
  modulation_.forward(step, conditioning, modulation);
}

void TransformerBlock::modulate_backward(StepContext& step, ConstTensorView grad_modulation,
                                         ConstTensorView conditioning, TensorView grad_conditioning) const {
  modulation_.backward_weight(step, grad_modulation, conditioning);
  modulation_.backward_input(step, grad_modulation, grad_conditioning);
}

}  // namespace lsd::nn
