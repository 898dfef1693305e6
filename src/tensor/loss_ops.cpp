// SPDX-License-Identifier: Apache-2.0
#include "lsd/tensor/loss_ops.h"

#include "op_checks_internal.h"

namespace lsd {

void LossOps::run(const CrossEntropy& op) {
  OpChecks checks("CrossEntropy", context().planning);
  checks.matrix("logits", op.logits);
  const auto rows = op.logits.shape()[0], vocab = op.logits.shape()[1];
  checks.operand("logits", op.logits, kActivation, {rows, vocab});
  checks.operand("targets", op.targets, kInt32, {rows});
  checks.optional("row_time", op.row_time, kFloat32, {rows});
  checks.operand("scale", op.scale, kFloat32, {1});
  checks.optional("grad_logits", op.grad_logits, kActivation, {rows, vocab});
  checks.that(op.grad_logits.raw() != op.logits.raw() || op.grad_logits.raw() == nullptr ||
                  op.grad_logits.dtype() == op.logits.dtype(),
              "grad_logits in the memory of logits has its type");
  checks.operand("loss_sum", op.loss_sum, kFloat32, {1});
  checks.operand("unweighted_sum", op.unweighted_sum, kFloat32, {1});
  checks.operand("correct", op.correct, kFloat32, {1});
  submit("CrossEntropy", scratch_bytes(op), [&] { launch(op); });
}

void LossOps::run(const SquaredError& op) {
  OpChecks checks("SquaredError", context().planning);
  checks.matrix("prediction", op.prediction);
  const auto rows = op.prediction.shape()[0], width = op.prediction.shape()[1], sequences = op.weight.elements();
  checks.operand("prediction", op.prediction, kActivation, {rows, width});
  checks.operand("target", op.target, kActivation, {rows, width});
  checks.operand("row_mask", op.row_mask, kUint8, {rows});
  checks.operand("row_sequence", op.row_sequence, kInt32, {rows});
  checks.operand("offsets", op.offsets, kInt32, {sequences + 1});
  checks.operand("weight", op.weight, kFloat32, {sequences});
  checks.operand("scale", op.scale, kFloat32, {1});
  checks.optional("grad_prediction", op.grad_prediction, kActivation, {rows, width});
  checks.operand("sequence_loss", op.sequence_loss, kFloat32, {sequences});
  checks.operand("loss_sum", op.loss_sum, kFloat32, {1});
  checks.operand("unweighted_sum", op.unweighted_sum, kFloat32, {1});
  submit("SquaredError", scratch_bytes(op), [&] { launch(op); });
}

}  // namespace lsd
