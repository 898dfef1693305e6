// SPDX-License-Identifier: Apache-2.0
#include "lsd/tensor/random_ops.h"

#include "op_checks_internal.h"

namespace lsd {

void RandomOps::run(const UniformPerRow& op) {
  OpChecks checks("UniformPerRow", context().planning);
  const auto rows = op.layout.rows();
  checks.layout(op.layout, rows);
  checks.operand("sequence_visit", op.sequence_visit, kInt64, {op.layout.max_sequences()});
  checks.operand("out", op.out, kFloat32, {rows});
  submit("UniformPerRow", scratch_bytes(op), [&] { launch(op); });
}

void RandomOps::run(const NoiseMix& op) {
  OpChecks checks("NoiseMix", context().planning);
  checks.matrix("z", op.z);
  const auto rows = op.z.shape()[0], width = op.z.shape()[1], sequences = op.layout.max_sequences();
  checks.that(width % 4 == 0, "the width is a multiple of 4, the words of one Philox block");
  checks.operand("z", op.z, kActivation, {rows, width});
  checks.layout(op.layout, rows);
  checks.operand("sequence_visit", op.sequence_visit, kInt64, {sequences});
  checks.that(op.row_time.present() != op.sequence_time.present(),
              "exactly one of row_time and sequence_time is there");
  checks.optional("row_time", op.row_time, kFloat32, {rows});
  checks.optional("sequence_time", op.sequence_time, kFloat32, {sequences});
  checks.operand("noised", op.noised, kActivation, {rows, width});
  checks.optional("velocity", op.velocity, kActivation, {rows, width});
  submit("NoiseMix", scratch_bytes(op), [&] { launch(op); });
}

void RandomOps::run(const NoiseMixBackward& op) {
  OpChecks checks("NoiseMixBackward", context().planning);
  checks.matrix("grad_noised", op.grad_noised);
  const auto rows = op.grad_noised.shape()[0], width = op.grad_noised.shape()[1];
  checks.operand("grad_noised", op.grad_noised, kActivation, {rows, width});
  checks.operand("row_time", op.row_time, kFloat32, {rows});
  checks.operand("row_sequence", op.row_sequence, kInt32, {rows});
  checks.operand("grad_z", op.grad_z, kActivation, {rows, width});
  submit("NoiseMixBackward", scratch_bytes(op), [&] { launch(op); });
}

}  // namespace lsd
