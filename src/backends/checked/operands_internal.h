// SPDX-License-Identifier: Apache-2.0
#pragma once
// The operands of every op by name: `in` is only read, `out` is written or updated. Absent ones are passed too.

#include "lsd/tensor/backend.h"

namespace lsd::backends::checked {

template <class Visitor>
void visit_layout(PackedLayout& layout, Visitor& v) {
  v.in("offsets", layout.offsets);
  v.in("row_sequence", layout.row_sequence);
  v.in("row_position", layout.row_position);
  v.in("sequence_order", layout.sequence_order);
}

template <class Visitor>
void visit_operands(LinearForward& op, Visitor& v) {
  v.in("x", op.x);
  v.in("weight", op.weight);
  v.in("bias", op.bias);
  v.out("y", op.y);
  v.out("pre_activation", op.pre_activation);
}

template <class Visitor>
void visit_operands(LinearBackwardInput& op, Visitor& v) {
  v.in("grad_y", op.grad_y);
  v.in("weight", op.weight);
  v.in("gelu_input", op.gelu_input);
  v.out("grad_x", op.grad_x);
}

template <class Visitor>
void visit_operands(LinearBackwardWeight& op, Visitor& v) {
  v.in("grad_y", op.grad_y);
  v.in("x", op.x);
  v.out("grad_weight", op.grad_weight);
  v.out("grad_bias", op.grad_bias);
}

template <class Visitor>
void visit_operands(NormForward& op, Visitor& v) {
  v.in("x", op.x);
  v.in("delta", op.delta);
  v.in("gain", op.gain);
  v.in("bias", op.bias);
  v.out("sum", op.sum);
  v.out("y", op.y);
  v.out("mean", op.mean);
  v.out("inv_std", op.inv_std);
}

template <class Visitor>
void visit_operands(NormBackward& op, Visitor& v) {
  v.in("grad_y", op.grad_y);
  v.in("sum", op.sum);
  v.in("gain", op.gain);
  v.in("mean", op.mean);
  v.in("inv_std", op.inv_std);
  v.in("grad_sum", op.grad_sum);
  v.out("grad_x", op.grad_x);
  v.out("grad_gain", op.grad_gain);
  v.out("grad_bias", op.grad_bias);
}

template <class Visitor>
void visit_operands(AdaptiveNormForward& op, Visitor& v) {
  v.in("x", op.x);
  v.in("delta", op.delta);
  v.in("gate_modulation", op.gate_modulation);
  v.in("modulation", op.modulation);
  v.in("row_sequence", op.row_sequence);
  v.out("sum", op.sum);
  v.out("y", op.y);
  v.out("mean", op.mean);
  v.out("inv_std", op.inv_std);
}

template <class Visitor>
void visit_operands(AdaptiveNormBackward& op, Visitor& v) {
  v.in("grad_y", op.grad_y);
  v.in("sum", op.sum);
  v.in("mean", op.mean);
  v.in("inv_std", op.inv_std);
  v.in("grad_sum", op.grad_sum);
  v.in("delta", op.delta);
  v.in("gate_modulation", op.gate_modulation);
  v.in("modulation", op.modulation);
  v.in("row_sequence", op.row_sequence);
  v.in("offsets", op.offsets);
  v.out("grad_x", op.grad_x);
  v.out("grad_delta", op.grad_delta);
  v.out("grad_modulation", op.grad_modulation);
  v.out("grad_gate_modulation", op.grad_gate_modulation);
}

template <class Visitor>
void visit_operands(AttentionForward& op, Visitor& v) {
  v.in("qkv", op.qkv);
  visit_layout(op.layout, v);
  v.out("out", op.out);
  v.out("log_sum_exp", op.log_sum_exp);
}

template <class Visitor>
void visit_operands(AttentionBackward& op, Visitor& v) {
  v.in("grad_out", op.grad_out);
  v.in("qkv", op.qkv);
  v.in("out", op.out);
  v.in("log_sum_exp", op.log_sum_exp);
  visit_layout(op.layout, v);
  v.out("grad_qkv", op.grad_qkv);
}

template <class Visitor>
void visit_operands(Fill& op, Visitor& v) {
  v.out("y", op.y);
}

template <class Visitor>
void visit_operands(Cast& op, Visitor& v) {
  v.in("x", op.x);
  v.out("y", op.y);
}

template <class Visitor>
void visit_operands(GeluForward& op, Visitor& v) {
  v.in("x", op.x);
  v.out("y", op.y);
}

template <class Visitor>
void visit_operands(GeluBackward& op, Visitor& v) {
  v.in("grad_y", op.grad_y);
  v.in("x", op.x);
  v.out("grad_x", op.grad_x);
}

template <class Visitor>
void visit_operands(SiluForward& op, Visitor& v) {
  v.in("x", op.x);
  v.out("y", op.y);
}

template <class Visitor>
void visit_operands(SiluBackward& op, Visitor& v) {
  v.in("grad_y", op.grad_y);
  v.in("x", op.x);
  v.out("grad_x", op.grad_x);
}

template <class Visitor>
void visit_operands(EmbeddingForward& op, Visitor& v) {
  v.in("tokens", op.tokens);
  v.in("table", op.table);
  v.in("row_scale", op.row_scale);
  v.out("y", op.y);
}

template <class Visitor>
void visit_operands(EmbeddingBackward& op, Visitor& v) {
  v.in("tokens", op.tokens);
  v.in("grad_y", op.grad_y);
  v.in("row_scale", op.row_scale);
  v.out("grad_table", op.grad_table);
}

template <class Visitor>
void visit_operands(ColumnAffine& op, Visitor& v) {
  v.in("x", op.x);
  v.in("scale", op.scale);
  v.in("shift", op.shift);
  v.out("y", op.y);
}

template <class Visitor>
void visit_operands(LinearCombination& op, Visitor& v) {
  v.in("x", op.x);
  v.in("y", op.y);
  v.in("coefficients", op.coefficients);
  v.in("row_sequence", op.row_sequence);
  v.out("out", op.out);
}

template <class Visitor>
void visit_operands(SinusoidalFeatures& op, Visitor& v) {
  v.in("time", op.time);
  v.out("out", op.out);
}

template <class Visitor>
void visit_operands(UniformPerRow& op, Visitor& v) {
  visit_layout(op.layout, v);
  v.in("sequence_visit", op.sequence_visit);
  v.out("out", op.out);
}

template <class Visitor>
void visit_operands(NoiseMix& op, Visitor& v) {
  v.in("z", op.z);
  visit_layout(op.layout, v);
  v.in("sequence_visit", op.sequence_visit);
  v.in("row_time", op.row_time);
  v.in("sequence_time", op.sequence_time);
  v.out("noised", op.noised);
  v.out("velocity", op.velocity);
}

template <class Visitor>
void visit_operands(NoiseMixBackward& op, Visitor& v) {
  v.in("grad_noised", op.grad_noised);
  v.in("row_time", op.row_time);
  v.in("row_sequence", op.row_sequence);
  v.out("grad_z", op.grad_z);
}

template <class Visitor>
void visit_operands(CrossEntropy& op, Visitor& v) {
  v.in("logits", op.logits);
  v.in("targets", op.targets);
  v.in("row_time", op.row_time);
  v.in("scale", op.scale);
  v.out("grad_logits", op.grad_logits);
  v.out("loss_sum", op.loss_sum);
  v.out("unweighted_sum", op.unweighted_sum);
  v.out("correct", op.correct);
}

template <class Visitor>
void visit_operands(SquaredError& op, Visitor& v) {
  v.in("prediction", op.prediction);
  v.in("target", op.target);
  v.in("row_mask", op.row_mask);
  v.in("row_sequence", op.row_sequence);
  v.in("offsets", op.offsets);
  v.in("weight", op.weight);
  v.in("scale", op.scale);
  v.out("grad_prediction", op.grad_prediction);
  v.out("sequence_loss", op.sequence_loss);
  v.out("loss_sum", op.loss_sum);
  v.out("unweighted_sum", op.unweighted_sum);
}

template <class Visitor>
void visit_operands(GroupMoments& op, Visitor& v) {
  v.in("z", op.z);
  v.in("row_group", op.row_group);
  v.out("count", op.count);
  v.out("mean", op.mean);
  v.out("variance", op.variance);
}

template <class Visitor>
void visit_operands(UnivariateKl& op, Visitor& v) {
  v.in("count", op.count);
  v.in("mean", op.mean);
  v.in("variance", op.variance);
  v.out("offset", op.offset);
  v.out("slope", op.slope);
  v.out("loss", op.loss);
}

template <class Visitor>
void visit_operands(MomentGradient& op, Visitor& v) {
  v.in("grad_in", op.grad_in);
  v.in("z", op.z);
  v.in("row_group", op.row_group);
  v.in("mean", op.mean);
  v.in("offset", op.offset);
  v.in("slope", op.slope);
  v.in("share", op.share);
  v.out("grad_z", op.grad_z);
}

template <class Visitor>
void visit_operands(MultivariateKl& op, Visitor& v) {
  v.in("z", op.z);
  v.in("row_group", op.row_group);
  v.in("count", op.count);
  v.in("mean", op.mean);
  v.in("grad_in", op.grad_in);
  v.in("share", op.share);
  v.out("grad_z", op.grad_z);
  v.out("loss", op.loss);
}

template <class Visitor>
void visit_operands(SequenceMean& op, Visitor& v) {
  v.in("x", op.x);
  v.in("row_mask", op.row_mask);
  visit_layout(op.layout, v);
  v.out("mean", op.mean);
}

template <class Visitor>
void visit_operands(SquaredNorm& op, Visitor& v) {
  v.in("x", op.x);
  v.out("sum", op.sum);
}

template <class Visitor>
void visit_operands(AdamW& op, Visitor& v) {
  v.in("grad", op.grad);
  v.in("decay_blocks", op.decay_blocks);
  v.in("scalars", op.scalars);
  v.in("squared_norm", op.squared_norm);
  v.out("master", op.master);
  v.out("first_moment", op.first_moment);
  v.out("second_moment", op.second_moment);
  v.out("ema", op.ema);
  v.out("compute", op.compute);
}

}  // namespace lsd::backends::checked
