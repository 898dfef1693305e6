// SPDX-License-Identifier: Apache-2.0
#pragma once
// The attention kernels' bodies on the host (emulated_block.h): an attention op as the CUDA backend would launch it,
// and cases that run it forward and backward beside the reference.

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <type_traits>
#include <vector>

#include "backends/cuda/attention_setup_internal.h"
#include "backends/emulated_block.h"
#include "backends/op_case.h"
#include "backends/rounded_attention.h"
#include "lsd/backends/make_backend.h"

namespace lsd::testing {

namespace attention = backends::cuda::attention;
using attention::Owner;

struct Run {
  int blocks = 3;
  ThreadOrder order = ThreadOrder::ascending;
};

template <class T>
void prepare(const attention::Problem<T>& p, bool backward, Run run) {
  EmulatedBlock block(attention::kPrepareThreads, 4 * (attention::kPrepareThreads + 1), run.order);
  block.run(run.blocks, [&](EmulatedThread& t) { attention::prepare_body(t, p, backward); });
}

template <class Shape>
EmulatedBlock block_of(Run run) {
  return EmulatedBlock(Shape::kThreads, Shape::kSharedBytes, run.order);
}

inline void emulate(const AttentionForward& op, Run run) {
  const auto plan = attention::scratch_plan(op.qkv, op.layout, op.heads, false);
  std::vector<attention::Tile> scratch(static_cast<std::size_t>(plan.total) / sizeof(attention::Tile),
                                       attention::Tile{-1, -1, -1, -1});
  visit_dtype(op.qkv.dtype(), [&]<class T>(TypeTag<T>) {
    const auto p = attention::make_problem<T>(op, scratch.data());
    prepare(p, false, run);
    attention::visit_head_width(p.head_width, [&](auto width) {
      if constexpr (std::is_same_v<T, float>) {
        using Shape = attention::PlainShape<width.value>;
        block_of<Shape>(run).run(run.blocks, [&](EmulatedThread& t) { attention::plain_forward_body<Shape>(t, p); });
      } else {
        using Shape = attention::ForwardShape<width.value>;
        block_of<Shape>(run).run(run.blocks, [&](EmulatedThread& t) { attention::forward_body<Shape>(t, p); });
      }
    });
  });
}

template <Owner kOwner, int kWidth, class T>
void emulate_backward(const attention::Problem<T>& p, Run run) {
  if constexpr (std::is_same_v<T, float>) {
    using Shape = attention::PlainShape<kWidth>;
    block_of<Shape>(run).run(run.blocks,
                             [&](EmulatedThread& t) { attention::plain_backward_body<Shape, kOwner>(t, p); });
  } else {
    using Shape = attention::BackwardShape<kWidth, kOwner>;
    block_of<Shape>(run).run(run.blocks, [&](EmulatedThread& t) { attention::backward_body<Shape>(t, p); });
  }
}

inline void emulate(const AttentionBackward& op, Run run) {
  const auto plan = attention::scratch_plan(op.qkv, op.layout, op.heads, true);
  std::vector<attention::Tile> scratch(static_cast<std::size_t>(plan.total) / sizeof(attention::Tile),
                                       attention::Tile{-1, -1, -1, -1});
  visit_dtype(op.qkv.dtype(), [&]<class T>(TypeTag<T>) {
    const auto p = attention::make_problem<T>(op, scratch.data());
    prepare(p, true, run);
    attention::visit_head_width(p.head_width, [&](auto width) {
      emulate_backward<Owner::keys, width.value>(p, run);
      emulate_backward<Owner::queries, width.value>(p, run);
    });
  });
}

struct Case {
  std::string label;
  std::vector<int> lengths;
  int head_width, heads, dead_rows;
  double deviation = 1.0;  // of q, k and v
  Rotary rotary = {};
};

inline void PrintTo(const Case& value, std::ostream* out) {
  *out << value.label << ", head width " << value.head_width;
}

struct Outputs {
  std::vector<float> out, log_sum_exp, grad_qkv;
};

// Forward, then backward of its results, by `forward` and `backward`.
template <class RunForward, class RunBackward>
Outputs run_both(const Case& c, DType type, RunForward&& forward, RunBackward&& backward) {
  const auto memory = backends::make_reference_backend();
  Operands o(*memory, type, static_cast<std::uint32_t>(::testing::UnitTest::GetInstance()->random_seed()) + 1);
  const auto layout = o.layout(c.lengths, c.dead_rows);
  const std::int64_t rows = layout.rows(), width = std::int64_t{c.heads} * c.head_width;
  const auto qkv = o.normal("qkv", type, {rows, 3 * width}, c.deviation);
  const auto grad_out = o.normal("grad_out", type, {rows, width});
  const auto out = o.output("out", type, {rows, width});
  const auto log_sum_exp = o.output("log_sum_exp", DType::float32, {c.heads, rows});
  const auto grad_qkv = o.output("grad_qkv", type, {rows, 3 * width});
  forward(*memory, AttentionForward{qkv, layout, out, log_sum_exp, c.heads, c.rotary});
  backward(*memory, AttentionBackward{grad_out, qkv, out, log_sum_exp, layout, grad_qkv, c.heads, c.rotary});
  const auto results = o.results();
  const auto floats = [&](const char* name) { return to_floats(results.at(name).bytes, results.at(name).type); };
  return {floats("out"), floats("log_sum_exp"), floats("grad_qkv")};
}

inline Outputs by_reference(const Case& c, DType type) {
  return run_both(
      c, type, [](Backend& b, const AttentionForward& op) { b.attention().run(op); },
      [](Backend& b, const AttentionBackward& op) { b.attention().run(op); });
}

inline Outputs by_rounding(const Case& c) {
  return run_both(
      c, DType::bfloat16, [](Backend&, const AttentionForward& op) { RoundedAttention::run(op); },
      [](Backend&, const AttentionBackward& op) { RoundedAttention::run(op); });
}

inline Outputs by_kernels(const Case& c, DType type, Run run) {
  return run_both(
      c, type, [&](Backend&, const AttentionForward& op) { emulate(op, run); },
      [&](Backend&, const AttentionBackward& op) { emulate(op, run); });
}

inline double norm_ratio(const std::vector<float>& actual, const std::vector<float>& expected) {
  double difference = 0.0, total = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(static_cast<double>(actual[i]) - static_cast<double>(expected[i]), 2.0);
    total += std::pow(static_cast<double>(expected[i]), 2.0);
  }
  return std::sqrt(difference) / std::max(std::sqrt(total), 1e-20);
}

inline void expect_same(const Outputs& actual, const Outputs& expected, double allowed) {
  EXPECT_LE(norm_ratio(actual.out, expected.out), allowed);
  EXPECT_LE(norm_ratio(actual.log_sum_exp, expected.log_sum_exp), allowed);
  EXPECT_LE(norm_ratio(actual.grad_qkv, expected.grad_qkv), allowed);
}

// A bfloat16 kernel differs from the reference by what its roundings explain, and a tenth: where weights are rounded
// relative to another largest score they are rounded otherwise. And by what is allowed in float32.
class ExpectedWithRounding {
 public:
  explicit ExpectedWithRounding(const Case& c)
      : expected_(by_reference(c, DType::bfloat16)), rounded_(by_rounding(c)) {}

  void expect(const Outputs& actual) const {
    expect(actual.out, expected_.out, rounded_.out, "out");
    expect(actual.log_sum_exp, expected_.log_sum_exp, rounded_.log_sum_exp, "log_sum_exp");
    expect(actual.grad_qkv, expected_.grad_qkv, rounded_.grad_qkv, "grad_qkv");
  }

 private:
  static void expect(const std::vector<float>& actual, const std::vector<float>& expected,
                     const std::vector<float>& rounded, const char* name) {
    EXPECT_LE(norm_ratio(actual, expected), 1.1 * norm_ratio(rounded, expected) + 5e-6) << name;
  }

  Outputs expected_, rounded_;
};

inline void expect_equal_bits(const Outputs& actual, const Outputs& expected) {
  EXPECT_EQ(actual.out, expected.out);
  EXPECT_EQ(actual.log_sum_exp, expected.log_sum_exp);
  EXPECT_EQ(actual.grad_qkv, expected.grad_qkv);
}

}  // namespace lsd::testing
