// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reductions, normalisation losses and the optimizer.

#include "backends/case_sizes.h"

namespace lsd::testing::cases {

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

}  // namespace lsd::testing::cases
