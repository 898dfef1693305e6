// SPDX-License-Identifier: Apache-2.0
#pragma once
// Compares backends with the reference, op by op, at awkward sizes: results as a ratio of norms, outputs poisoned
// before, inputs fresh in every run with --gtest_random_seed.

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "backends/op_cases.h"
#include "lsd/backends/make_backend.h"

namespace lsd::testing {

inline const std::vector<CaseSizes>& awkward_sizes() {
  static const std::vector<CaseSizes> sizes{
      {.label = "short_mixture", .lengths = {1, 2, 63, 64, 65}, .dead_rows = 13, .width = 36, .heads = 3, .inner = 100},
      {.label = "one_long", .lengths = {1024}, .dead_rows = 0, .width = 64, .heads = 2, .inner = 130},
      {.label = "one_sequence", .lengths = {37}, .dead_rows = 0, .width = 128, .heads = 1, .inner = 33},
      {.label = "hundreds",
       .lengths =
           [] {
             std::vector<int> lengths;
             for (int i = 0; i < 300; ++i) lengths.push_back(1 + i % 7);
             return lengths;
           }(),
       .dead_rows = 5,
       .width = 32,
       .heads = 2,
       .inner = 129},
      {.label = "even", .lengths = {40, 88}, .dead_rows = 0, .width = 64, .heads = 1, .inner = 256},
      {.label = "uneven", .lengths = {130, 1, 257, 97}, .dead_rows = 1, .width = 132, .heads = 3, .inner = 264},
  };
  return sizes;
}

struct BackendKind {
  std::string name;
  std::function<std::unique_ptr<Backend>()> make;
  bool tensor_cores = false;  // its attention multiplies rounded q, k, probabilities and their gradients
};

// The largest norm ratio to the reference, which rounds a result alone, to at most 2^-9 of a value in bfloat16. On
// tensor cores what attention multiplies is rounded before: rotated q and k, then probabilities or their gradients,
// then the result. For normal inputs that gives 3e-3 to 5.6e-3, as docs/decisions/0003-attention-on-hopper.md works
// out; the float32 log_sum_exp sees the first of these.
inline double allowed_ratio(DType result, bool rounded_attention) {
  if (rounded_attention) return result == DType::bfloat16 ? 6e-3 : 4e-3;
  return result == DType::bfloat16 ? 4e-3 : 5e-6;
}

// Relative error of the whole tensor, as a ratio of Euclidean norms. `before`: what an updated tensor held. Adding
// rounds in proportion to what is added, so when the two cancel, what is left is no measure of the rounding.
inline double norm_ratio(const std::vector<float>& actual, const std::vector<float>& expected,
                         const std::vector<float>& before) {
  double difference = 0.0, total = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double d = static_cast<double>(actual[i]) - static_cast<double>(expected[i]);
    difference += d * d;
    total += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
  }
  for (const float value : before) total += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(difference) / std::max(std::sqrt(total), 1e-20);
}

inline void expect_same(const Operands::Result& actual, const Operands::Result& expected, const std::string& operand,
                        bool rounded_attention = false) {
  ASSERT_EQ(actual.type, expected.type) << operand;
  if (expected.type == DType::int32 || operand.starts_with("bits_")) {
    EXPECT_EQ(actual.bytes, expected.bytes) << operand << " must agree to the bit";
    return;
  }
  const double allowed = allowed_ratio(expected.type, rounded_attention);
  const auto ratio =
      norm_ratio(to_floats(actual.bytes, actual.type), to_floats(expected.bytes, expected.type), expected.before);
  EXPECT_LE(ratio, allowed) << operand;
  EXPECT_FALSE(std::isnan(ratio)) << operand << " holds values that were never written";
}

struct Parameter {
  CaseSizes sizes;
  DType type;
};

// How GoogleTest and CTest name a parameter; without it they print its bytes.
inline void PrintTo(const Parameter& parameter, std::ostream* out) {
  *out << parameter.sizes.label << ", " << name_of(parameter.type);
}

// The reference is slow, so each of its results serves all backends. `only`: how the names of the ops to compare start.
inline void expect_agreement(const Parameter& parameter, const std::vector<BackendKind>& others,
                             const std::string& only = "") {
  const auto reference = backends::make_reference_backend();
  const auto seed = static_cast<std::uint32_t>(::testing::UnitTest::GetInstance()->random_seed()) + 1;
  std::vector<std::unique_ptr<Backend>> built;
  for (const auto& kind : others) built.push_back(kind.make());
  for (const auto& op_case : op_cases(parameter.sizes)) {
    if (!op_case.name.starts_with(only)) continue;
    Operands expected(*reference, parameter.type, seed);
    plan_and_run(*reference, op_case.make(expected));
    const auto expected_results = expected.results();
    for (std::size_t i = 0; i < others.size(); ++i) {
      SCOPED_TRACE(op_case.name + " on " + others[i].name + " with seed " + std::to_string(seed));
      Operands actual(*built[i], parameter.type, seed);
      plan_and_run(*built[i], op_case.make(actual));
      const auto actual_results = actual.results();
      const bool rounded_attention =
          others[i].tensor_cores && parameter.type == DType::bfloat16 && op_case.name.starts_with("Attention");
      for (const auto& [name, result] : expected_results)
        expect_same(actual_results.at(name), result, name, rounded_attention);
    }
  }
}

inline std::vector<Parameter> parameters() {
  std::vector<Parameter> out;
  for (const auto& sizes : awkward_sizes())
    for (const auto type : {DType::float32, DType::bfloat16}) out.push_back({sizes, type});
  return out;
}

inline std::string text_of(const ::testing::TestParamInfo<Parameter>& info) {
  return info.param.sizes.label + "_" + std::string(name_of(info.param.type));
}

}  // namespace lsd::testing
