// SPDX-License-Identifier: Apache-2.0
#pragma once
// Every operation once or more, at sizes that the caller chooses: the tests take awkward ones, the benchmark real ones.

#include <algorithm>

#include "backends/op_case.h"

namespace lsd::testing {

struct CaseSizes {
  std::string label;
  std::vector<int> lengths;
  int dead_rows = 0;
  int width = 0, heads = 1, inner = 0, vocab = 33, groups = 20;

  std::int64_t rows() const {
    std::int64_t sum = dead_rows;
    for (const int length : lengths) sum += length;
    return sum;
  }
  double attention_flops() const {  // of one product of all scores
    double sum = 0.0;
    for (const int length : lengths) sum += 2.0 * length * length * width;
    return sum;
  }
};

namespace cases {

inline std::vector<std::int32_t> integers(std::int64_t count, int low, int high, std::uint32_t seed) {
  std::vector<std::int32_t> out(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = low + static_cast<int>(bounded_from_word(random_word({seed, 99}, static_cast<std::uint32_t>(i), 0),
                                                      static_cast<std::uint32_t>(high - low)));
  return out;
}

inline std::vector<std::uint8_t> mask(std::int64_t count) {
  std::vector<std::uint8_t> out;
  for (const int value : integers(count, 0, 4, 17)) out.push_back(value > 0 ? 1 : 0);
  return out;
}

inline std::vector<std::int64_t> visits(std::int64_t count) {
  std::vector<std::int64_t> out;
  for (std::int64_t s = 0; s < count; ++s) out.push_back(s * 7 + (s % 3 == 0 ? 5'000'000'000 : 0));
  return out;
}

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
                                     .loss_sum = o.updated("loss_sum", DType::float32, {1})};
                     if (gradient) op.grad_prediction = o.output("grad_prediction", o.activation(), {rows, width});
                     return [&o, op] { o.backend().loss().run(op); };
                   }});
}

inline void add_reductions(std::vector<OpCase>& out, const CaseSizes& sizes) {
  const std::int64_t rows = sizes.rows(), width = sizes.width, groups = sizes.groups;
  out.push_back({"GroupMoments", [=](Operands& o) {
                   const GroupMoments op{
                       .z = o.normal("z", o.activation(), {rows, width}, 1.0, 0.3),
                       .row_group = o.values("row_group", integers(rows, -1, static_cast<int>(groups) - 1, 7)),
                       .count = o.output("count", DType::float32, {groups}),
                       .mean = o.output("mean", DType::float32, {groups, width}),
                       .variance = o.output("variance", DType::float32, {groups, width})};
                   return [&o, op] { o.backend().reduce().run(op); };
                 }});
  out.push_back({"UnivariateKl", [=](Operands& o) {
                   const UnivariateKl op{.count = o.uniform("count", {groups}, 0.0, 100.0),
                                         .mean = o.normal("mean", DType::float32, {groups, width}),
                                         .variance = o.uniform("variance", {groups, width}, -0.05, 2.0),
                                         .offset = o.output("offset", DType::float32, {groups, width}),
                                         .slope = o.output("slope", DType::float32, {groups, width}),
                                         .loss = o.updated("loss", DType::float32, {1}),
                                         .min_count = 32.0F,
                                         .variance_floor = 1e-2F};
                   return [&o, op] { o.backend().reduce().run(op); };
                 }});
  out.push_back({"MomentGradient", [=](Operands& o) {
                   const MomentGradient op{
                       .grad_in = o.normal("grad_in", o.activation(), {rows, width}),
                       .z = o.normal("z", o.activation(), {rows, width}),
                       .row_group = o.values("row_group", integers(rows, -1, static_cast<int>(groups), 7)),
                       .mean = o.normal("mean", DType::float32, {groups, width}),
                       .offset = o.normal("offset", DType::float32, {groups, width}),
                       .slope = o.normal("slope", DType::float32, {groups, width}),
                       .grad_z = o.output("grad_z", o.activation(), {rows, width}),
                       .share = o.uniform("share", {1}),
                       .weight = 0.7F};
                   return [&o, op] { o.backend().reduce().run(op); };
                 }});
  out.push_back({"SequenceMean", [=](Operands& o) {
                   const auto layout = o.layout(sizes.lengths, sizes.dead_rows);
                   const SequenceMean op{.x = o.normal("x", o.activation(), {rows, width}),
                                         .row_mask = o.values("row_mask", mask(rows)),
                                         .layout = layout,
                                         .mean = o.output("mean", DType::float32, {layout.max_sequences(), width})};
                   return [&o, op] { o.backend().reduce().run(op); };
                 }});
}

// Moments of the very latents, so that the covariance is one.
inline void add_multivariate(std::vector<OpCase>& out, const CaseSizes& sizes) {
  const std::int64_t rows = sizes.rows(), width = sizes.width;
  for (const std::int64_t groups : {std::int64_t{1}, std::int64_t{3}})
    out.push_back({"MultivariateKl_" + std::to_string(groups), [=](Operands& o) {
                     const auto z = o.normal("z", o.activation(), {rows, width}, 1.0, 0.3);
                     const auto row_group = o.values("row_group", integers(rows, -1, static_cast<int>(groups), 8));
                     const auto count = o.output("count", DType::float32, {groups});
                     const auto mean = o.output("mean", DType::float32, {groups, width});
                     const GroupMoments moments{.z = z,
                                                .row_group = row_group,
                                                .count = count,
                                                .mean = mean,
                                                .variance = o.output("variance", DType::float32, {groups, width})};
                     plan_and_run(o.backend(), [&] { o.backend().reduce().run(moments); });
                     const MultivariateKl op{.z = z,
                                             .row_group = row_group,
                                             .count = count,
                                             .mean = mean,
                                             .grad_in = o.normal("grad_in", o.activation(), {rows, width}, 1e-4),
                                             .share = o.uniform("share", {1}, 0.5, 1.0),
                                             .grad_z = o.output("grad_z", o.activation(), {rows, width}),
                                             .loss = o.updated("loss", DType::float32, {1}),
                                             .shrinkage = 0.1F,
                                             .weight = 0.7F};
                     return [&o, op] { o.backend().reduce().run(op); };
                   }});
}

inline void add_optimizer(std::vector<OpCase>& out, const CaseSizes& sizes) {
  const std::int64_t n = (sizes.rows() * sizes.width / 64 + 1) * 64;
  out.push_back({"SquaredNorm", [=](Operands& o) {
                   const SquaredNorm op{.x = o.normal("x", DType::float32, {n}),
                                        .sum = o.updated("sum", DType::float32, {1})};
                   return [&o, op] { o.backend().optimizer().run(op); };
                 }});
  for (const bool ema : {true, false})
    out.push_back({std::string("AdamW") + (ema ? "_ema" : ""), [=](Operands& o) {
                     std::vector<std::uint8_t> decay;
                     for (std::int64_t b = 0; b < n / 64; ++b) decay.push_back(b % 3 == 0 ? 1 : 0);
                     const std::vector<float> squared_norm{static_cast<float>(n)};
                     AdamW op{.grad = o.normal("grad", DType::float32, {n}),
                              .decay_blocks = o.values("decay", decay),
                              .scalars = o.scalars(),
                              .squared_norm = o.values("squared_norm", squared_norm),
                              .master = o.updated("master", DType::float32, {n}),
                              .first_moment = o.updated("first_moment", DType::float32, {n}, 1e-3),
                              .second_moment = o.updated("second_moment", DType::float32, {n}, 1e-7, 1e-6),
                              .compute = o.output("compute", o.activation(), {n})};
                     if (ema) op.ema = o.updated("ema", DType::float32, {n});
                     return [&o, op] { o.backend().optimizer().run(op); };
                   }});
}

}  // namespace cases

inline std::vector<OpCase> op_cases(const CaseSizes& sizes) {
  std::vector<OpCase> out;
  cases::add_matrix(out, sizes, "qkv", sizes.width, 3 * sizes.width);
  cases::add_matrix(out, sizes, "up", sizes.width, sizes.inner);
  cases::add_matrix(out, sizes, "down", sizes.inner, sizes.width);
  cases::add_float_head(out, sizes);
  cases::add_norms(out, sizes);
  cases::add_adaptive_norms(out, sizes);
  cases::add_attention(out, sizes);
  cases::add_pointwise(out, sizes);
  cases::add_random(out, sizes);
  cases::add_losses(out, sizes);
  cases::add_reductions(out, sizes);
  cases::add_multivariate(out, sizes);
  cases::add_optimizer(out, sizes);
  return out;
}

}  // namespace lsd::testing
