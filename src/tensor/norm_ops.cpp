// SPDX-License-Identifier: Apache-2.0
#include "lsd/tensor/norm_ops.h"

#include "op_checks_internal.h"

namespace lsd {
namespace {

// A modulation tensor is [sequences, chunks * width], and `chunk` is one of its chunks.
void check_modulation(OpChecks& checks, std::string_view name, ConstTensorView view, Types types,
                      std::int64_t sequences, std::int64_t width, int chunk) {
  checks.matrix(name, view);
  const auto columns = view.shape()[1];
  checks.operand(name, view, types, {sequences, columns});
  checks.that(width > 0 && columns % width == 0, "a modulation has a whole number of chunks of the width");
  checks.that(chunk >= 0 && (chunk + 1) * width <= columns, "a chunk index lies within its modulation");
}

}  // namespace

void NormOps::run(const NormForward& op) {
  OpChecks checks("NormForward", context().planning);
  checks.matrix("x", op.x);
  const auto rows = op.x.shape()[0], width = op.x.shape()[1];
  checks.operand("x", op.x, kActivation, {rows, width});
  checks.operand("y", op.y, kActivation, {rows, width});
  checks.optional("delta", op.delta, only(op.y.dtype()), {rows, width});
  checks.operand("gain", op.gain, only(op.y.dtype()), {width});
  checks.operand("bias", op.bias, only(op.y.dtype()), {width});
  checks.exactly_when(op.delta.present(), "delta is", "sum", op.sum, only(op.x.dtype()), {rows, width});
  checks.operand("mean", op.mean, kFloat32, {rows});
  checks.operand("inv_std", op.inv_std, kFloat32, {rows});
  submit("NormForward", scratch_bytes(op), [&] { launch(op); });
}

void NormOps::run(const NormBackward& op) {
  OpChecks checks("NormBackward", context().planning);
  checks.matrix("sum", op.sum);
  const auto rows = op.sum.shape()[0], width = op.sum.shape()[1];
  checks.operand("sum", op.sum, kActivation, {rows, width});
  checks.operand("gain", op.gain, kActivation, {width});
  checks.operand("grad_y", op.grad_y, only(op.gain.dtype()) | kFloat32, {rows, width});
  checks.operand("mean", op.mean, kFloat32, {rows});
  checks.operand("inv_std", op.inv_std, kFloat32, {rows});
  checks.optional("grad_sum", op.grad_sum, only(op.sum.dtype()), {rows, width});
  checks.operand("grad_x", op.grad_x, only(op.sum.dtype()), {rows, width});
  checks.operand("grad_gain", op.grad_gain, kFloat32, {width});
  checks.operand("grad_bias", op.grad_bias, kFloat32, {width});
  submit("NormBackward", scratch_bytes(op), [&] { launch(op); });
}

void NormOps::run(const AdaptiveNormForward& op) {
  OpChecks checks("AdaptiveNormForward", context().planning);
  checks.matrix("x", op.x);
  checks.matrix("modulation", op.modulation);
  const auto rows = op.x.shape()[0], width = op.x.shape()[1], sequences = op.modulation.shape()[0];
  const bool has_delta = op.delta.present();
  checks.operand("x", op.x, kActivation, {rows, width});
  checks.operand("y", op.y, kActivation, {rows, width});
  checks.optional("delta", op.delta, only(op.y.dtype()), {rows, width});
  checks.that(op.gate_modulation.present() == has_delta, "gate_modulation is present exactly when delta is");
  if (has_delta)
    check_modulation(checks, "gate_modulation", op.gate_modulation, only(op.y.dtype()), sequences, width,
                     op.gate_chunk);
  check_modulation(checks, "modulation", op.modulation, only(op.y.dtype()), sequences, width, op.shift_chunk);
  check_modulation(checks, "modulation", op.modulation, only(op.y.dtype()), sequences, width, op.scale_chunk);
  checks.operand("row_sequence", op.row_sequence, kInt32, {rows});
  checks.exactly_when(has_delta, "delta is", "sum", op.sum, only(op.x.dtype()), {rows, width});
  checks.operand("mean", op.mean, kFloat32, {rows});
  checks.operand("inv_std", op.inv_std, kFloat32, {rows});
  submit("AdaptiveNormForward", scratch_bytes(op), [&] { launch(op); });
}

void NormOps::run(const AdaptiveNormBackward& op) {
  OpChecks checks("AdaptiveNormBackward", context().planning);
  checks.matrix("sum", op.sum);
  checks.matrix("modulation", op.modulation);
  const auto rows = op.sum.shape()[0], width = op.sum.shape()[1], sequences = op.modulation.shape()[0];
  const bool has_delta = op.delta.present();
  const auto activation = only(op.modulation.dtype());
  checks.operand("sum", op.sum, kActivation, {rows, width});
  check_modulation(checks, "modulation", op.modulation, kActivation, sequences, width, op.shift_chunk);
  check_modulation(checks, "modulation", op.modulation, kActivation, sequences, width, op.scale_chunk);
  check_modulation(checks, "grad_modulation", op.grad_modulation, activation, sequences, width, op.scale_chunk);
  checks.that(op.grad_modulation.shape() == op.modulation.shape(), "grad_modulation has modulation's shape");
  checks.that(op.gate_modulation.present() == has_delta && op.grad_gate_modulation.present() == has_delta,
              "gate_modulation and grad_gate_modulation are present exactly when delta is");
  if (has_delta) {
    check_modulation(checks, "gate_modulation", op.gate_modulation, activation, sequences, width, op.gate_chunk);
    check_modulation(checks, "grad_gate_modulation", op.grad_gate_modulation, activation, sequences, width,
                     op.gate_chunk);
    checks.that(op.grad_gate_modulation.shape() == op.gate_modulation.shape(),
                "grad_gate_modulation has gate_modulation's shape");
  }
  checks.operand("grad_y", op.grad_y, activation | kFloat32, {rows, width});
  checks.operand("mean", op.mean, kFloat32, {rows});
  checks.operand("inv_std", op.inv_std, kFloat32, {rows});
  checks.optional("grad_sum", op.grad_sum, only(op.sum.dtype()), {rows, width});
  checks.optional("delta", op.delta, activation, {rows, width});
  checks.operand("row_sequence", op.row_sequence, kInt32, {rows});
  checks.operand("offsets", op.offsets, kInt32, {sequences + 1});
  checks.operand("grad_x", op.grad_x, only(op.sum.dtype()), {rows, width});
  checks.exactly_when(has_delta, "delta is", "grad_delta", op.grad_delta, activation, {rows, width});
  submit("AdaptiveNormBackward", scratch_bytes(op), [&] { launch(op); });
}

}  // namespace lsd
