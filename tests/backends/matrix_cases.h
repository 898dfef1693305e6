// SPDX-License-Identifier: Apache-2.0
#pragma once
// Linear layers, with and without bias and GELU, and heads whose logits are float32.

#include "backends/case_sizes.h"

namespace lsd::testing::cases {

inline void add_matrix(std::vector<OpCase>& out, const CaseSizes& sizes, const std::string& name, std::int64_t in,
                       std::int64_t columns) {
  const auto rows = sizes.rows();
  const double flops = 2.0 * static_cast<double>(rows * in * columns);
  for (const Gelu gelu : {Gelu::none, Gelu::erf, Gelu::tanh}) {
    const std::string suffix = gelu == Gelu::none ? "" : (gelu == Gelu::erf ? "_gelu_erf" : "_gelu_tanh");
    out.push_back({"LinearForward_" + name + suffix, [=](Operands& o) {
                     const auto type = o.activation();
                     o.flops = flops;
                     LinearForward op{.x = o.normal("x", type, {rows, in}),
                                      .weight = o.normal("weight", type, {columns, in}, 1.0 / std::sqrt(in)),
                                      .bias = o.normal("bias", type, {columns}),
                                      .y = o.output("y", type, {rows, columns}),
                                      .gelu = gelu};
                     if (gelu != Gelu::none) op.pre_activation = o.output("pre_activation", type, {rows, columns});
                     return [&o, op] { o.backend().matrix().run(op); };
                   }});
    out.push_back({"LinearBackwardInput_" + name + suffix, [=](Operands& o) {
                     const auto type = o.activation();
                     o.flops = flops;
                     LinearBackwardInput op{.grad_y = o.normal("grad_y", type, {rows, columns}),
                                            .weight = o.normal("weight", type, {columns, in}, 1.0 / std::sqrt(columns)),
                                            .grad_x = o.output("grad_x", type, {rows, in}),
                                            .gelu = gelu};
                     if (gelu != Gelu::none) op.gelu_input = o.normal("gelu_input", type, {rows, in});
                     return [&o, op] { o.backend().matrix().run(op); };
                   }});
  }
  out.push_back({"LinearBackwardWeight_" + name, [=](Operands& o) {
                   const auto type = o.activation();
                   o.flops = flops;
                   const LinearBackwardWeight op{.grad_y = o.normal("grad_y", type, {rows, columns}),
                                                 .x = o.normal("x", type, {rows, in}),
                                                 .grad_weight = o.updated("grad_weight", DType::float32, {columns, in}),
                                                 .grad_bias = o.updated("grad_bias", DType::float32, {columns})};
                   return [&o, op] { o.backend().matrix().run(op); };
                 }});
}

// A head whose logits and their gradient are float32 whatever the activation type, without bias.
inline void add_float_head(std::vector<OpCase>& out, const CaseSizes& sizes) {
  const std::int64_t rows = sizes.rows(), in = sizes.width, columns = sizes.vocab;
  const double flops = 2.0 * static_cast<double>(rows * in * columns);
  out.push_back({"LinearForward_head", [=](Operands& o) {
                   o.flops = flops;
                   const LinearForward op{
                       .x = o.normal("x", o.activation(), {rows, in}),
                       .weight = o.normal("weight", o.activation(), {columns, in}, 1.0 / std::sqrt(in)),
                       .y = o.output("y", DType::float32, {rows, columns})};
                   return [&o, op] { o.backend().matrix().run(op); };
                 }});
  out.push_back({"LinearBackwardInput_head", [=](Operands& o) {
                   o.flops = flops;
                   const LinearBackwardInput op{.grad_y = o.normal("grad_y", DType::float32, {rows, columns}),
                                                .weight = o.normal("weight", o.activation(), {columns, in}, 0.2),
                                                .grad_x = o.output("grad_x", o.activation(), {rows, in})};
                   return [&o, op] { o.backend().matrix().run(op); };
                 }});
  out.push_back({"LinearBackwardWeight_head", [=](Operands& o) {
                   o.flops = flops;
                   const LinearBackwardWeight op{
                       .grad_y = o.normal("grad_y", DType::float32, {rows, columns}),
                       .x = o.normal("x", o.activation(), {rows, in}),
                       .grad_weight = o.updated("grad_weight", DType::float32, {columns, in})};
                   return [&o, op] { o.backend().matrix().run(op); };
                 }});
}

}  // namespace lsd::testing::cases
