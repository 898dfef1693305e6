// SPDX-License-Identifier: Apache-2.0
#pragma once
// Element-wise and row-wise work.

#include "backends/case_sizes.h"

namespace lsd::testing::cases {

inline void add_pointwise(std::vector<OpCase>& out, const CaseSizes& sizes) {
  const std::int64_t rows = sizes.rows(), width = sizes.width, vocab = sizes.vocab;
  out.push_back({"Fill", [=](Operands& o) {
                   const Fill op{.y = o.output("y", o.activation(), {rows, width}), .value = 1.25F};
                   return [&o, op] { o.backend().pointwise().run(op); };
                 }});
  out.push_back({"Cast_to_activation", [=](Operands& o) {
                   const Cast op{.x = o.normal("x", DType::float32, {rows, width}),
                                 .y = o.output("y", o.activation(), {rows, width})};
                   return [&o, op] { o.backend().pointwise().run(op); };
                 }});
  out.push_back({"Cast_from_activation", [=](Operands& o) {
                   const Cast op{.x = o.normal("x", o.activation(), {rows, width}),
                                 .y = o.output("y", DType::float32, {rows, width})};
                   return [&o, op] { o.backend().pointwise().run(op); };
                 }});
  for (const Gelu gelu : {Gelu::erf, Gelu::tanh}) {
    const std::string suffix = gelu == Gelu::erf ? "_erf" : "_tanh";
    out.push_back({"GeluForward" + suffix, [=](Operands& o) {
                     const GeluForward op{.x = o.normal("x", o.activation(), {rows, width}, 3.0),
                                          .y = o.output("y", o.activation(), {rows, width}),
                                          .gelu = gelu};
                     return [&o, op] { o.backend().pointwise().run(op); };
                   }});
    out.push_back({"GeluBackward" + suffix, [=](Operands& o) {
                     const GeluBackward op{.grad_y = o.normal("grad_y", o.activation(), {rows, width}),
                                           .x = o.normal("x", o.activation(), {rows, width}, 3.0),
                                           .grad_x = o.output("grad_x", o.activation(), {rows, width}),
                                           .gelu = gelu};
                     return [&o, op] { o.backend().pointwise().run(op); };
                   }});
  }
  out.push_back({"SiluForward", [=](Operands& o) {
                   const SiluForward op{.x = o.normal("x", o.activation(), {rows, width}, 3.0),
                                        .y = o.output("y", o.activation(), {rows, width})};
                   return [&o, op] { o.backend().pointwise().run(op); };
                 }});
  out.push_back({"SiluBackward", [=](Operands& o) {
                   const SiluBackward op{.grad_y = o.normal("grad_y", o.activation(), {rows, width}),
                                         .x = o.normal("x", o.activation(), {rows, width}, 3.0),
                                         .grad_x = o.output("grad_x", o.activation(), {rows, width})};
                   return [&o, op] { o.backend().pointwise().run(op); };
                 }});
  out.push_back({"EmbeddingForward", [=](Operands& o) {
                   const EmbeddingForward op{
                       .tokens = o.values("tokens", integers(rows, 0, static_cast<int>(vocab), 5)),
                       .table = o.normal("table", o.activation(), {vocab, width}),
                       .row_scale = o.uniform("row_scale", {rows}),
                       .y = o.output("y", o.activation(), {rows, width})};
                   return [&o, op] { o.backend().pointwise().run(op); };
                 }});
  out.push_back({"EmbeddingBackward", [=](Operands& o) {
                   const EmbeddingBackward op{
                       .tokens = o.values("tokens", integers(rows, 0, static_cast<int>(vocab), 5)),
                       .grad_y = o.normal("grad_y", o.activation(), {rows, width}),
                       .row_scale = o.uniform("row_scale", {rows}),
                       .grad_table = o.updated("grad_table", DType::float32, {vocab, width})};
                   return [&o, op] { o.backend().pointwise().run(op); };
                 }});
  out.push_back({"ColumnAffine", [=](Operands& o) {
                   const ColumnAffine op{.x = o.normal("x", o.activation(), {rows, width}),
                                         .scale = o.uniform("scale", {width}, 0.5, 2.0),
                                         .shift = o.normal("shift", DType::float32, {width}),
                                         .y = o.output("y", o.activation(), {rows, width})};
                   return [&o, op] { o.backend().pointwise().run(op); };
                 }});
  out.push_back({"LinearCombination", [=](Operands& o) {
                   const auto layout = o.layout(sizes.lengths, sizes.dead_rows);
                   const LinearCombination op{
                       .x = o.normal("x", o.activation(), {rows, width}),
                       .y = o.normal("y", o.activation(), {rows, width}),
                       .coefficients = o.normal("coefficients", DType::float32, {layout.max_sequences(), 2}),
                       .row_sequence = layout.row_sequence,
                       .out = o.output("out", o.activation(), {rows, width})};
                   return [&o, op] { o.backend().pointwise().run(op); };
                 }});
  out.push_back({"SinusoidalFeatures", [=](Operands& o) {
                   const std::int64_t sequences = static_cast<std::int64_t>(sizes.lengths.size()) + 2;
                   const SinusoidalFeatures op{.time = o.uniform("time", {sequences}),
                                               .out = o.output("out", o.activation(), {sequences, 2 * width})};
                   return [&o, op] { o.backend().pointwise().run(op); };
                 }});
}

}  // namespace lsd::testing::cases
