// SPDX-License-Identifier: Apache-2.0
#pragma once
// Norms, plain and adaptive, and attention.

#include "backends/case_sizes.h"

namespace lsd::testing::cases {

inline void add_norms(std::vector<OpCase>& out, const CaseSizes& sizes) {
  const std::int64_t rows = sizes.rows(), width = sizes.width;
  for (const bool residual : {false, true})
    for (const bool wide : {false, true}) {  // wide: a float32 residual stream
      const std::string suffix = std::string(residual ? "_residual" : "") + (wide ? "_float_stream" : "");
      out.push_back({"NormForward" + suffix, [=](Operands& o) {
                       const auto type = o.activation(), stream = wide ? DType::float32 : type;
                       NormForward op{.x = o.normal("x", stream, {rows, width}, 2.0, 0.5),
                                      .gain = o.normal("gain", type, {width}),
                                      .bias = o.normal("bias", type, {width}),
                                      .y = o.output("y", type, {rows, width}),
                                      .mean = o.output("mean", DType::float32, {rows}),
                                      .inv_std = o.output("inv_std", DType::float32, {rows})};
                       if (residual) {
                         op.delta = o.normal("delta", type, {rows, width});
                         op.sum = o.output("sum", stream, {rows, width});
                       }
                       return [&o, op] { o.backend().norm().run(op); };
                     }});
      out.push_back({"NormBackward" + suffix, [=](Operands& o) {
                       const auto type = o.activation(), stream = wide ? DType::float32 : type;
                       NormBackward op{.grad_y = o.normal("grad_y", type, {rows, width}),
                                       .sum = o.normal("sum", stream, {rows, width}),
                                       .gain = o.normal("gain", type, {width}),
                                       .mean = o.normal("mean", DType::float32, {rows}, 0.1),
                                       .inv_std = o.uniform("inv_std", {rows}, 0.5, 1.5),
                                       .grad_x = o.output("grad_x", stream, {rows, width}),
                                       .grad_gain = o.updated("grad_gain", DType::float32, {width}),
                                       .grad_bias = o.updated("grad_bias", DType::float32, {width})};
                       if (residual) op.grad_sum = o.normal("grad_sum", stream, {rows, width});
                       return [&o, op] { o.backend().norm().run(op); };
                     }});
    }
}

inline void add_adaptive_norms(std::vector<OpCase>& out, const CaseSizes& sizes) {
  const std::int64_t rows = sizes.rows(), width = sizes.width;
  for (const bool residual : {false, true}) {
    const std::string suffix = residual ? "_residual" : "";
    out.push_back({"AdaptiveNormForward" + suffix, [=](Operands& o) {
                     const auto type = o.activation();
                     const auto layout = o.layout(sizes.lengths, sizes.dead_rows);
                     const auto slots = layout.max_sequences();
                     AdaptiveNormForward op{.x = o.normal("x", type, {rows, width}),
                                            .modulation = o.normal("modulation", type, {slots, 6 * width}, 0.5),
                                            .row_sequence = layout.row_sequence,
                                            .y = o.output("y", type, {rows, width}),
                                            .mean = o.output("mean", DType::float32, {rows}),
                                            .inv_std = o.output("inv_std", DType::float32, {rows}),
                                            .shift_chunk = 3,
                                            .scale_chunk = 1};
                     if (residual) {
                       op.delta = o.normal("delta", type, {rows, width});
                       op.gate_modulation = o.normal("gate_modulation", type, {slots, 3 * width});
                       op.gate_chunk = 2;
                       op.sum = o.output("sum", type, {rows, width});
                     }
                     return [&o, op] { o.backend().norm().run(op); };
                   }});
    out.push_back({"AdaptiveNormBackward" + suffix, [=](Operands& o) {
                     const auto type = o.activation();
                     const auto layout = o.layout(sizes.lengths, sizes.dead_rows);
                     const auto slots = layout.max_sequences();
                     AdaptiveNormBackward op{.grad_y = o.normal("grad_y", type, {rows, width}),
                                             .sum = o.normal("sum", type, {rows, width}),
                                             .mean = o.normal("mean", DType::float32, {rows}, 0.1),
                                             .inv_std = o.uniform("inv_std", {rows}, 0.5, 1.5),
                                             .modulation = o.normal("modulation", type, {slots, 6 * width}, 0.5),
                                             .row_sequence = layout.row_sequence,
                                             .offsets = layout.offsets,
                                             .grad_x = o.output("grad_x", type, {rows, width}),
                                             .grad_modulation = o.updated("grad_modulation", type, {slots, 6 * width}),
                                             .shift_chunk = 3,
                                             .scale_chunk = 1};
                     if (residual) {
                       op.grad_sum = o.normal("grad_sum", type, {rows, width});
                       op.delta = o.normal("delta", type, {rows, width});
                       op.gate_modulation = o.normal("gate_modulation", type, {slots, 3 * width});
                       op.grad_delta = o.output("grad_delta", type, {rows, width});
                       op.grad_gate_modulation = o.updated("grad_gate_modulation", type, {slots, 3 * width});
                       op.gate_chunk = 2;
                     }
                     return [&o, op] { o.backend().norm().run(op); };
                   }});
  }
}

inline void add_attention(std::vector<OpCase>& out, const CaseSizes& sizes) {
  const std::int64_t rows = sizes.rows(), width = sizes.width;
  out.push_back({"AttentionForward", [=](Operands& o) {
                   o.flops = 2.0 * sizes.attention_flops();
                   const AttentionForward op{
                       .qkv = o.normal("qkv", o.activation(), {rows, 3 * width}),
                       .layout = o.layout(sizes.lengths, sizes.dead_rows),
                       .out = o.output("out", o.activation(), {rows, width}),
                       .log_sum_exp = o.output("log_sum_exp", DType::float32, {sizes.heads, rows}),
                       .heads = sizes.heads};
                   return [&o, op] { o.backend().attention().run(op); };
                 }});
  out.push_back({"AttentionBackward", [=](Operands& o) {
                   o.flops = 5.0 * sizes.attention_flops();
                   const auto layout = o.layout(sizes.lengths, sizes.dead_rows);
                   const auto qkv = o.normal("qkv", o.activation(), {rows, 3 * width});
                   const auto out_view = o.output("out", o.activation(), {rows, width});
                   const auto log_sum_exp = o.output("log_sum_exp", DType::float32, {sizes.heads, rows});
                   const AttentionForward forward{
                       .qkv = qkv, .layout = layout, .out = out_view, .log_sum_exp = log_sum_exp, .heads = sizes.heads};
                   plan_and_run(o.backend(), [&] { o.backend().attention().run(forward); });
                   const AttentionBackward op{.grad_out = o.normal("grad_out", o.activation(), {rows, width}),
                                              .qkv = qkv,
                                              .out = out_view,
                                              .log_sum_exp = log_sum_exp,
                                              .layout = layout,
                                              .grad_qkv = o.output("grad_qkv", o.activation(), {rows, 3 * width}),
                                              .heads = sizes.heads};
                   return [&o, op] { o.backend().attention().run(op); };
                 }});
}

}  // namespace lsd::testing::cases
