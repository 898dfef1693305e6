// SPDX-License-Identifier: Apache-2.0
#include "lsd/tensor/optimizer_ops.h"

#include "lsd/tensor/step_scalars.h"
#include "op_checks_internal.h"

namespace lsd {

void OptimizerOps::run(const SquaredNorm& op) {
  OpChecks checks("SquaredNorm", context().planning);
  checks.operand("x", op.x, kFloat32, {op.x.elements()});
  checks.operand("sum", op.sum, kFloat32, {1});
  submit("SquaredNorm", scratch_bytes(op), [&] { launch(op); });
}

void OptimizerOps::run(const AdamW& op) {
  OpChecks checks("AdamW", context().planning);
  const auto n = op.grad.elements();
  checks.that(n % 64 == 0, "the range is a multiple of 64 elements");
  checks.operand("grad", op.grad, kFloat32, {n});
  checks.operand("decay_blocks", op.decay_blocks, kUint8, {n / 64});
  checks.operand("scalars", op.scalars, kFloat32, {StepScalars::kSlots});
  checks.operand("squared_norm", op.squared_norm, kFloat32, {1});
  checks.operand("master", op.master, kFloat32, {n});
  checks.operand("first_moment", op.first_moment, kFloat32, {n});
  checks.operand("second_moment", op.second_moment, kFloat32, {n});
  checks.optional("ema", op.ema, kFloat32, {n});
  checks.operand("compute", op.compute, kActivation, {n});
  submit("AdamW", scratch_bytes(op), [&] { launch(op); });
}

}  // namespace lsd
