// SPDX-License-Identifier: Apache-2.0
#pragma once
// Draws and losses.

#include "backends/case_sizes.h"

namespace lsd::testing::cases {

inline void add_random(std::vector<OpCase>& out, const CaseSizes& sizes) {
  const std::int64_t rows = sizes.rows(), width = (sizes.width + 3) / 4 * 4;
  out.push_back({"UniformPerRow", [=](Operands& o) {
                   const auto layout = o.layout(sizes.lengths, sizes.dead_rows);
                   const UniformPerRow op{.layout = layout,
                                          .sequence_visit = o.values("visit", visits(layout.max_sequences())),
                                          .out = o.output("bits_out", DType::float32, {rows}),
                                          .key = random_key(11, RandomStream::nm_time)};
                   return [&o, op] { o.backend().random().run(op); };
                 }});
  for (const bool per_row : {true, false})
    out.push_back({std::string("NoiseMix") + (per_row ? "_row_time" : "_sequence_time_velocity"), [=](Operands& o) {
                     const auto layout = o.layout(sizes.lengths, sizes.dead_rows);
                     NoiseMix op{.z = o.normal("z", o.activation(), {rows, width}),
                                 .layout = layout,
                                 .sequence_visit = o.values("visit", visits(layout.max_sequences())),
                                 .noised = o.output("noised", o.activation(), {rows, width}),
                                 .key = random_key(11, RandomStream::nm_noise),
                                 .draw = 3};
                     if (per_row) {
                       op.row_time = o.uniform("row_time", {rows});
                     } else {
                       op.sequence_time = o.uniform("sequence_time", {layout.max_sequences()});
                       op.velocity = o.output("velocity", o.activation(), {rows, width});
                     }
                     return [&o, op] { o.backend().random().run(op); };
                   }});
  out.push_back({"NoiseMixBackward", [=](Operands& o) {
                   const auto layout = o.layout(sizes.lengths, sizes.dead_rows);
                   const NoiseMixBackward op{.grad_noised = o.normal("grad_noised", o.activation(), {rows, width}),
                                             .row_time = o.uniform("row_time", {rows}),
                                             .row_sequence = layout.row_sequence,
                                             .grad_z = o.output("grad_z", o.activation(), {rows, width})};
                   return [&o, op] { o.backend().random().run(op); };
                 }});
}

inline void add_losses(std::vector<OpCase>& out, const CaseSizes& sizes) {
  const std::int64_t rows = sizes.rows(), width = sizes.width, vocab = sizes.vocab;
  for (const bool weighted : {true, false})
    out.push_back({std::string("CrossEntropy") + (weighted ? "_weighted" : "_evaluate"), [=](Operands& o) {
                     CrossEntropy op{.logits = o.normal("logits", o.activation(), {rows, vocab}, 3.0),
                                     .targets = o.values("targets", integers(rows, -1, static_cast<int>(vocab), 6)),
                                     .scale = o.uniform("scale", {1}),
                                     .loss_sum = o.updated("loss_sum", DType::float32, {1}),
                                     .unweighted_sum = o.updated("unweighted_sum", DType::float32, {1}),
                                     .correct = o.updated("correct", DType::float32, {1})};
                     if (weighted) {
                       op.row_time = o.uniform("row_time", {rows});
                       op.grad_logits = o.output("grad_logits", o.activation(), {rows, vocab});
                     }
                     return [&o, op] { o.backend().loss().run(op); };
                   }});
  for (const bool gradient : {true, false})
    out.push_back({std::string("SquaredError") + (gradient ? "" : "_evaluate"), [=](Operands& o) {
                     const auto layout = o.layout(sizes.lengths, sizes.dead_rows);
                     const auto slots = layout.max_sequences();
                     SquaredError op{.prediction = o.normal("prediction", o.activation(), {rows, width}),
                                     .target = o.normal("target", o.activation(), {rows, width}),
                                     .row_mask = o.values("row_mask", mask(rows)),
                                     .row_sequence = layout.row_sequence,
                                     .offsets = layout.offsets,
                                     .weight = o.uniform("weight", {slots}, 0.5, 2.0),
                                     .scale = o.uniform("scale", {1}),
                                     .sequence_loss = o.output("sequence_loss", DType::float32, {slots}),
                                     .loss_sum = o.updated("loss_sum", DType::float32, {1}),
                                     .unweighted_sum = o.updated("unweighted_sum", DType::float32, {1})};
                     if (gradient) op.grad_prediction = o.output("grad_prediction", o.activation(), {rows, width});
                     return [&o, op] { o.backend().loss().run(op); };
                   }});
}

}  // namespace lsd::testing::cases
