// SPDX-License-Identifier: Apache-2.0
#include "lsd/tensor/matrix_ops.h"

#include "op_checks_internal.h"

namespace lsd {

void MatrixOps::run(const LinearForward& op) {
  OpChecks checks("LinearForward", context().planning);
  checks.matrix("x", op.x);
  checks.matrix("weight", op.weight);
  const auto rows = op.x.shape()[0], in = op.x.shape()[1], out = op.weight.shape()[0];
  checks.operand("x", op.x, kActivation, {rows, in});
  checks.operand("weight", op.weight, only(op.x.dtype()), {out, in});
  checks.optional("bias", op.bias, only(op.x.dtype()), {out});
  checks.operand("y", op.y, only(op.x.dtype()) | kFloat32, {rows, out});
  checks.exactly_when(op.gelu != Gelu::none, "gelu is not none", "pre_activation", op.pre_activation,
                      only(op.y.dtype()), {rows, out});
  submit("LinearForward", scratch_bytes(op), [&] { launch(op); },
         {.rows = op.x.shape()[0], .in = op.x.shape()[1], .out = op.weight.shape()[0]});
}

void MatrixOps::run(const LinearBackwardInput& op) {
  OpChecks checks("LinearBackwardInput", context().planning);
  checks.matrix("grad_y", op.grad_y);
  checks.matrix("weight", op.weight);
  const auto rows = op.grad_y.shape()[0], out = op.weight.shape()[0], in = op.weight.shape()[1];
  checks.operand("weight", op.weight, kActivation, {out, in});
  checks.operand("grad_y", op.grad_y, only(op.weight.dtype()) | kFloat32, {rows, out});
  checks.exactly_when(op.gelu != Gelu::none, "gelu is not none", "gelu_input", op.gelu_input, kActivation, {rows, in});
  checks.operand("grad_x", op.grad_x, only(op.weight.dtype()) | kFloat32, {rows, in});
  submit("LinearBackwardInput", scratch_bytes(op), [&] { launch(op); },
         {.rows = op.grad_y.shape()[0], .in = op.weight.shape()[1], .out = op.weight.shape()[0]});
}

void MatrixOps::run(const LinearBackwardWeight& op) {
  OpChecks checks("LinearBackwardWeight", context().planning);
  checks.matrix("grad_y", op.grad_y);
  checks.matrix("x", op.x);
  const auto rows = op.x.shape()[0], in = op.x.shape()[1], out = op.grad_y.shape()[1];
  checks.operand("x", op.x, kActivation, {rows, in});
  checks.operand("grad_y", op.grad_y, only(op.x.dtype()) | kFloat32, {rows, out});
  checks.operand("grad_weight", op.grad_weight, kFloat32, {out, in});
  checks.optional("grad_bias", op.grad_bias, kFloat32, {out});
  submit("LinearBackwardWeight", scratch_bytes(op), [&] { launch(op); },
         {.rows = op.x.shape()[0], .in = op.x.shape()[1], .out = op.grad_y.shape()[1]});
}

}  // namespace lsd
