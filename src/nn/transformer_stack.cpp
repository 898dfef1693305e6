// SPDX-License-Identifier: Apache-2.0
#include "lsd/nn/transformer_stack.h"

#include <array>
#include <utility>

#include "conditioning_gradient_internal.h"

namespace lsd::nn {

void report_final(StepContext& step, ParameterRange range) {
  if (step.hooks) step.hooks->on_gradients_final(range.begin, range.end);
}

TransformerStack::TransformerStack(ParameterStore& store, const std::string& name, const StackShape& shape)
    : shape_(shape) {
  for (std::int64_t i = 0; i < shape.layers; ++i) {
    const auto begin = store.elements();
    blocks_.emplace_back(store, name + ".block." + std::to_string(i), shape);
    block_ranges_.push_back({begin, store.elements()});
  }
  final_range_.begin = store.elements();
  if (shape.adaptive)
    final_modulation_ = Linear(store, name + ".modulation", shape.width, kFinalChunks * shape.width, {});
  else
    norm_ = LayerNorm(store, name + ".norm", shape.width);
  final_range_.end = store.elements();
}

void TransformerStack::make_modulations(StepContext& step, ConstTensorView conditioning, Saved& saved) const {
  if (!shape_.adaptive) return;
  const auto sequences = conditioning.shape().rows();
  for (const auto& block : blocks_) {
    saved.modulations.push_back(
        step.arena.allocate(step.activation, Shape{sequences, TransformerBlock::kChunks * shape_.width}));
    block.modulate(step, conditioning, saved.modulations.back());
  }
  saved.modulations.push_back(step.arena.allocate(step.activation, Shape{sequences, kFinalChunks * shape_.width}));
  final_modulation_.forward(step, conditioning, saved.modulations.back());
}

Modulation TransformerStack::modulation_of(const Saved& saved, std::size_t block) const {
  if (!shape_.adaptive) return {};
  return {.own = saved.modulations[block],
          .previous = block > 0 ? ConstTensorView(saved.modulations[block - 1]) : ConstTensorView()};
}

AdaptiveNorm TransformerStack::final_site(const Saved& saved) const {
  return {.gate_modulation = saved.modulations[blocks_.size() - 1],
          .modulation = saved.modulations[blocks_.size()],
          .gate_chunk = TransformerBlock::kFeedForwardGate,
          .shift_chunk = 0,
          .scale_chunk = 1};
}

void TransformerStack::forward(StepContext& step, const PackedLayout& layout, ConstTensorView conditioning,
                               ConstTensorView x, TensorView y, Saved* saved) const {
  auto& arena = step.arena;
  const auto before = arena.mark();
  Saved unkept;
  Saved& kept = saved ? *saved : unkept;
  kept = {};
  if (saved) kept.keep = keep_for(step.recompute);
  make_modulations(step, conditioning, kept);

  const Shape shape{x.shape().rows(), shape_.width};
  Stream stream{.x = x};
  if (kept.keep == Keep::nothing) stream.spare1 = arena.allocate(step.residual, shape);
  if (kept.keep <= Keep::input) stream.spare2 = arena.allocate(step.residual, shape);
  const bool delta_per_block = shape_.adaptive && saved;  // the gates' gradients read every delta again
  if (!delta_per_block) stream.delta_out = arena.allocate(step.activation, shape);
  kept.blocks.resize(blocks_.size());
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    if (delta_per_block) stream.delta_out = arena.allocate(step.activation, shape);
    blocks_[i].forward(step, layout, modulation_of(kept, i), stream, kept.keep, kept.blocks[i]);
  }

  TensorView sum = saved ? arena.allocate(step.residual, shape) : stream.spare1;
  kept.last_delta = stream.delta;
  if (shape_.adaptive)
    final_site(kept).forward(step, layout, stream.x, stream.delta, sum, y, kept.norm);
  else
    norm_.forward(step, stream.x, stream.delta, sum, y, kept.norm);
  if (!saved) arena.release(before);
}

void TransformerStack::final_backward(StepContext& step, const PackedLayout& layout, ConstTensorView conditioning,
                                      ConstTensorView grad_y, const Saved& saved, const FinalGradients& to,
                                      ConditioningGradient& sum_of_conditioning) const {
  if (!shape_.adaptive) return norm_.backward(step, grad_y, saved.norm, {}, to.sum);
  const ArenaScope scope(step.arena);
  TensorView grad_modulation = step.arena.like(saved.modulations.back());
  auto site = final_site(saved);
  site.grad_modulation = grad_modulation;
  site.grad_gate_modulation = to.gate_modulation;
  site.backward(step, layout, grad_y, saved.norm, {}, saved.last_delta, to.sum, to.delta);
  final_modulation_.backward_weight(step, grad_modulation, conditioning);
  sum_of_conditioning.add(step,
                          [&](TensorView part) { final_modulation_.backward_input(step, grad_modulation, part); });
}

void TransformerStack::backward(StepContext& step, const PackedLayout& layout, ConstTensorView conditioning,
                                ConstTensorView grad_y, const Saved& saved, TensorView grad_x,
                                TensorView grad_conditioning) const {
  auto& arena = step.arena;
  const ArenaScope scope(arena);
  const Shape shape = saved.norm.sum.shape();
  // The gradients of the stream and of delta that go from block to block, and of two neighbours' modulations.
  std::array<TensorView, 2> grad_sum{arena.allocate(step.residual, shape), arena.allocate(step.residual, shape)};
  std::array<TensorView, 2> grad_delta, grad_modulation;
  ConditioningGradient sum_of_conditioning;
  if (shape_.adaptive) {
    for (auto& view : grad_delta) view = arena.allocate(step.activation, shape);
    for (auto& view : grad_modulation) view = arena.like(saved.modulations.front());
    sum_of_conditioning.start(step, conditioning);
  }
  final_backward(step, layout, conditioning, grad_y, saved,
                 {.sum = grad_sum[0], .delta = grad_delta[0], .gate_modulation = grad_modulation[0]},
                 sum_of_conditioning);
  report_final(step, final_range_);

  for (std::size_t i = blocks_.size(); i-- > 0;) {
    Modulation modulation = modulation_of(saved, i);
    modulation.grad_own = grad_modulation[0];
    modulation.grad_previous = i > 0 ? grad_modulation[1] : TensorView();
    TensorView to = i > 0 ? grad_sum[1] : grad_x;
    blocks_[i].backward(step, layout, modulation, grad_sum[0], shape_.adaptive ? grad_delta[0] : grad_sum[0],
                        saved.blocks[i], saved.keep, to, grad_delta[1]);
    if (shape_.adaptive)
      sum_of_conditioning.add(
          step, [&](TensorView part) { blocks_[i].modulate_backward(step, grad_modulation[0], conditioning, part); });
    std::swap(grad_sum[0], grad_sum[1]);
    std::swap(grad_delta[0], grad_delta[1]);
    std::swap(grad_modulation[0], grad_modulation[1]);
    report_final(step, block_ranges_[i]);
  }
  if (shape_.adaptive) sum_of_conditioning.finish(step, grad_conditioning);
}

}  // namespace lsd::nn
