// SPDX-License-Identifier: Apache-2.0
#include "lsd/tensor/reduce_ops.h"

#include "op_checks_internal.h"

namespace lsd {

void ReduceOps::run(const GroupMoments& op) {
  OpChecks checks("GroupMoments", context().planning);
  checks.matrix("z", op.z);
  const auto rows = op.z.shape()[0], width = op.z.shape()[1], groups = op.count.elements();
  checks.operand("z", op.z, kActivation, {rows, width});
  checks.operand("row_group", op.row_group, kInt32, {rows});
  checks.operand("count", op.count, kFloat32, {groups});
  checks.operand("mean", op.mean, kFloat32, {groups, width});
  checks.operand("variance", op.variance, kFloat32, {groups, width});
  submit("GroupMoments", scratch_bytes(op), [&] { launch(op); });
}

void ReduceOps::run(const UnivariateKl& op) {
  OpChecks checks("UnivariateKl", context().planning);
  checks.matrix("mean", op.mean);
  const auto groups = op.mean.shape()[0], width = op.mean.shape()[1];
  checks.operand("count", op.count, kFloat32, {groups});
  checks.operand("mean", op.mean, kFloat32, {groups, width});
  checks.operand("variance", op.variance, kFloat32, {groups, width});
  checks.operand("offset", op.offset, kFloat32, {groups, width});
  checks.operand("slope", op.slope, kFloat32, {groups, width});
  checks.operand("loss", op.loss, kFloat32, {1});
  submit("UnivariateKl", scratch_bytes(op), [&] { launch(op); });
}

void ReduceOps::run(const MomentGradient& op) {
  OpChecks checks("MomentGradient", context().planning);
  checks.matrix("z", op.z);
  checks.matrix("mean", op.mean);
  const auto rows = op.z.shape()[0], width = op.z.shape()[1], groups = op.mean.shape()[0];
  checks.operand("z", op.z, kActivation, {rows, width});
  checks.operand("grad_in", op.grad_in, kActivation, {rows, width});
  checks.operand("row_group", op.row_group, kInt32, {rows});
  checks.operand("mean", op.mean, kFloat32, {groups, width});
  checks.operand("offset", op.offset, kFloat32, {groups, width});
  checks.operand("slope", op.slope, kFloat32, {groups, width});
  checks.operand("grad_z", op.grad_z, only(op.grad_in.dtype()), {rows, width});
  checks.optional("share", op.share, kFloat32, {1});
  submit("MomentGradient", scratch_bytes(op), [&] { launch(op); });
}

void ReduceOps::run(const MultivariateKl& op) {
  OpChecks checks("MultivariateKl", context().planning);
  checks.matrix("z", op.z);
  checks.matrix("mean", op.mean);
  const auto rows = op.z.shape()[0], width = op.z.shape()[1], groups = op.mean.shape()[0];
  checks.operand("z", op.z, kActivation, {rows, width});
  checks.operand("row_group", op.row_group, kInt32, {rows});
  checks.operand("count", op.count, kFloat32, {groups});
  checks.operand("mean", op.mean, kFloat32, {groups, width});
  checks.optional("grad_in", op.grad_in, kActivation, {rows, width});
  checks.optional("share", op.share, kFloat32, {1});
  checks.exactly_when(op.grad_in.present(), "grad_in is", "grad_z", op.grad_z, only(op.grad_in.dtype()), {rows, width});
  checks.operand("loss", op.loss, kFloat32, {1});
  checks.that(op.shrinkage >= 0.0F && op.shrinkage <= 1.0F, "shrinkage lies in [0, 1]");
  submit("MultivariateKl", scratch_bytes(op), [&] { launch(op); });
}

void ReduceOps::run(const SequenceMean& op) {
  OpChecks checks("SequenceMean", context().planning);
  checks.matrix("x", op.x);
  const auto rows = op.x.shape()[0], width = op.x.shape()[1];
  checks.operand("x", op.x, kActivation, {rows, width});
  checks.operand("row_mask", op.row_mask, kUint8, {rows});
  checks.layout(op.layout, rows);
  checks.operand("mean", op.mean, kFloat32, {op.layout.max_sequences(), width});
  submit("SequenceMean", scratch_bytes(op), [&] { launch(op); });
}

}  // namespace lsd
