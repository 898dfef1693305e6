// SPDX-License-Identifier: Apache-2.0
#include "lsd/tensor/pointwise_ops.h"

#include "op_checks_internal.h"

namespace lsd {

void PointwiseOps::run(const Fill& op) {
  OpChecks checks("Fill", context().planning);
  checks.operand("y", op.y, kActivation | kInt32, op.y.shape());
  submit("Fill", scratch_bytes(op), [&] { launch(op); });
}

void PointwiseOps::run(const Cast& op) {
  OpChecks checks("Cast", context().planning);
  checks.operand("x", op.x, kActivation, op.x.shape());
  checks.operand("y", op.y, kActivation, op.x.shape());
  submit("Cast", scratch_bytes(op), [&] { launch(op); });
}

void PointwiseOps::run(const GeluForward& op) {
  OpChecks checks("GeluForward", context().planning);
  checks.that(op.gelu != Gelu::none, "gelu is erf or tanh");
  checks.operand("x", op.x, kActivation, op.x.shape());
  checks.operand("y", op.y, only(op.x.dtype()), op.x.shape());
  submit("GeluForward", scratch_bytes(op), [&] { launch(op); });
}

void PointwiseOps::run(const GeluBackward& op) {
  OpChecks checks("GeluBackward", context().planning);
  checks.that(op.gelu != Gelu::none, "gelu is erf or tanh");
  checks.operand("x", op.x, kActivation, op.x.shape());
  checks.operand("grad_y", op.grad_y, only(op.x.dtype()) | kFloat32, op.x.shape());
  checks.operand("grad_x", op.grad_x, only(op.x.dtype()) | kFloat32, op.x.shape());
  submit("GeluBackward", scratch_bytes(op), [&] { launch(op); });
}

void PointwiseOps::run(const SiluForward& op) {
  OpChecks checks("SiluForward", context().planning);
  checks.operand("x", op.x, kActivation, op.x.shape());
  checks.operand("y", op.y, only(op.x.dtype()), op.x.shape());
  submit("SiluForward", scratch_bytes(op), [&] { launch(op); });
}

void PointwiseOps::run(const SiluBackward& op) {
  OpChecks checks("SiluBackward", context().planning);
  checks.operand("x", op.x, kActivation, op.x.shape());
  checks.operand("grad_y", op.grad_y, only(op.x.dtype()) | kFloat32, op.x.shape());
  checks.operand("grad_x", op.grad_x, only(op.x.dtype()) | kFloat32, op.x.shape());
  submit("SiluBackward", scratch_bytes(op), [&] { launch(op); });
}

void PointwiseOps::run(const EmbeddingForward& op) {
  OpChecks checks("EmbeddingForward", context().planning);
  checks.matrix("table", op.table);
  const auto rows = op.tokens.elements(), vocab = op.table.shape()[0], width = op.table.shape()[1];
  checks.operand("tokens", op.tokens, kInt32, {rows});
  checks.operand("table", op.table, kActivation, {vocab, width});
  checks.optional("row_scale", op.row_scale, kFloat32, {rows});
  checks.operand("y", op.y, kActivation, {rows, width});
  submit("EmbeddingForward", scratch_bytes(op), [&] { launch(op); });
}

void PointwiseOps::run(const EmbeddingBackward& op) {
  OpChecks checks("EmbeddingBackward", context().planning);
  checks.matrix("grad_table", op.grad_table);
  const auto rows = op.tokens.elements(), vocab = op.grad_table.shape()[0], width = op.grad_table.shape()[1];
  checks.operand("tokens", op.tokens, kInt32, {rows});
  checks.operand("grad_y", op.grad_y, kActivation, {rows, width});
  checks.optional("row_scale", op.row_scale, kFloat32, {rows});
  checks.operand("grad_table", op.grad_table, kFloat32, {vocab, width});
  submit("EmbeddingBackward", scratch_bytes(op), [&] { launch(op); });
}

void PointwiseOps::run(const ColumnAffine& op) {
  OpChecks checks("ColumnAffine", context().planning);
  checks.matrix("x", op.x);
  const auto rows = op.x.shape()[0], width = op.x.shape()[1];
  checks.operand("x", op.x, kActivation, {rows, width});
  checks.operand("scale", op.scale, kFloat32, {width});
  checks.operand("shift", op.shift, kFloat32, {width});
  checks.operand("y", op.y, kActivation, {rows, width});
  submit("ColumnAffine", scratch_bytes(op), [&] { launch(op); });
}

void PointwiseOps::run(const LinearCombination& op) {
  OpChecks checks("LinearCombination", context().planning);
  checks.matrix("x", op.x);
  checks.matrix("coefficients", op.coefficients);
  const auto rows = op.x.shape()[0], width = op.x.shape()[1];
  checks.operand("x", op.x, kActivation, {rows, width});
  checks.operand("y", op.y, kActivation, {rows, width});
  checks.operand("coefficients", op.coefficients, kFloat32, {op.coefficients.shape()[0], 2});
  checks.operand("row_sequence", op.row_sequence, kInt32, {rows});
  checks.operand("out", op.out, kActivation, {rows, width});
  submit("LinearCombination", scratch_bytes(op), [&] { launch(op); });
}

void PointwiseOps::run(const SinusoidalFeatures& op) {
  OpChecks checks("SinusoidalFeatures", context().planning);
  checks.matrix("out", op.out);
  const auto sequences = op.time.elements(), features = op.out.shape()[1];
  checks.that(features > 0 && features % 2 == 0, "the number of features is even");
  checks.operand("time", op.time, kFloat32, {sequences});
  checks.operand("out", op.out, kActivation, {sequences, features});
  submit("SinusoidalFeatures", scratch_bytes(op), [&] { launch(op); });
}

}  // namespace lsd
