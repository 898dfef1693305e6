// SPDX-License-Identifier: Apache-2.0
#include "lsd/tensor/attention_ops.h"

#include <cmath>

#include "lsd/tensor/dtype.h"
#include "op_checks_internal.h"

namespace lsd {
namespace {

struct AttentionShape {
  std::int64_t rows, width;
};

AttentionShape check_qkv(OpChecks& checks, ConstTensorView qkv, const PackedLayout& layout, int heads,
                         const Rotary& rotary) {
  checks.matrix("qkv", qkv);
  checks.that(heads > 0 && qkv.shape()[1] % (6 * std::int64_t{heads}) == 0,
              "qkv has 3 * heads * head_width columns, head_width even");
  checks.that(rotary.theta > 0.0F, "rotary.theta is positive");
  checks.that(layout.max_length > 0, "layout.max_length is positive");
  const AttentionShape shape{qkv.shape()[0], qkv.shape()[1] / 3};
  checks.operand("qkv", qkv, kActivation, {shape.rows, 3 * shape.width});
  checks.layout(layout, shape.rows);
  checks.operand("sequence_order", layout.sequence_order, kInt32, {layout.max_sequences()});
  return shape;
}

}  // namespace

double Rotary::frequency(std::int64_t i, std::int64_t head_width) const {
  const double exact =
      std::pow(static_cast<double>(theta), -2.0 * static_cast<double>(i) / static_cast<double>(head_width));
  return float16 ? float_from_float16(float16_from_float(static_cast<float>(exact))) : exact;
}

void AttentionOps::run(const AttentionForward& op) {
  OpChecks checks("AttentionForward", context().planning);
  const auto [rows, width] = check_qkv(checks, op.qkv, op.layout, op.heads, op.rotary);
  checks.operand("out", op.out, only(op.qkv.dtype()), {rows, width});
  checks.optional("log_sum_exp", op.log_sum_exp, kFloat32, {op.heads, rows});
  submit("AttentionForward", scratch_bytes(op), [&] { launch(op); },
         {.per_squared_length = 4.0 * static_cast<double>(op.out.shape()[1])});
}

void AttentionOps::run(const AttentionBackward& op) {
  OpChecks checks("AttentionBackward", context().planning);
  const auto [rows, width] = check_qkv(checks, op.qkv, op.layout, op.heads, op.rotary);
  checks.operand("grad_out", op.grad_out, only(op.qkv.dtype()), {rows, width});
  checks.operand("out", op.out, only(op.qkv.dtype()), {rows, width});
  checks.operand("log_sum_exp", op.log_sum_exp, kFloat32, {op.heads, rows});
  checks.operand("grad_qkv", op.grad_qkv, only(op.qkv.dtype()), {rows, 3 * width});
  submit("AttentionBackward", scratch_bytes(op), [&] { launch(op); },
         {.per_squared_length = 10.0 * static_cast<double>(op.out.shape()[1])});
}

}  // namespace lsd
