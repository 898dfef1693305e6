// SPDX-License-Identifier: Apache-2.0
// Every family rejects operands that do not fit, naming op, operand, what was expected and what came.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "lsd/backends/make_backend.h"
#include "lsd/core/error.h"

namespace lsd {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const InternalError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

class OpChecks : public ::testing::Test {
 protected:
  // While planning, views need no memory, so operands of any size cost nothing here.
  std::unique_ptr<Backend> backend_ = backends::make_backend("cpu", {.threads = 1, .plan_only = true});
  static TensorView view(Shape shape, DType type = DType::float32) { return {nullptr, type, shape}; }
  static PackedLayout layout(std::int64_t rows) {
    return {view({3}, DType::int32), view({rows}, DType::int32), view({rows}, DType::int32), view({2}, DType::int32),
            5};
  }
};

TEST_F(OpChecks, NameOpOperandAndShapes) {
  EXPECT_THAT(message_of([&] {
                backend_->matrix().run(LinearForward{.x = view({4, 3}), .weight = view({5, 2}), .y = view({4, 5})});
              }),
              AllOf(HasSubstr("LinearForward"), HasSubstr("weight"), HasSubstr("[5, 2]"), HasSubstr("[5, 3]")));
}

TEST_F(OpChecks, NameTypes) {
  EXPECT_THAT(message_of([&] {
                backend_->matrix().run(
                    LinearForward{.x = view({4, 3}, DType::bfloat16), .weight = view({5, 3}), .y = view({4, 5})});
              }),
              AllOf(HasSubstr("weight"), HasSubstr("float32"), HasSubstr("expected bfloat16")));
}

TEST_F(OpChecks, NameAbsentOperands) {
  EXPECT_THAT(message_of([&] { backend_->pointwise().run(SiluForward{.x = view({3})}); }),
              AllOf(HasSubstr("SiluForward"), HasSubstr("operand y is absent")));
  EXPECT_THAT(message_of([&] {
                backend_->matrix().run(
                    LinearForward{.x = view({4, 3}), .weight = view({5, 3}), .y = view({4, 5}), .gelu = Gelu::erf});
              }),
              HasSubstr("pre_activation is absent; it is there exactly when gelu is not none"));
}

TEST_F(OpChecks, NameDevices) {
  const TensorView elsewhere(nullptr, DType::float32, {3}, Device::cuda);
  EXPECT_THAT(message_of([&] { backend_->pointwise().run(SiluForward{.x = view({3}), .y = elsewhere}); }),
              AllOf(HasSubstr("operand y is on cuda"), HasSubstr("expected host")));
}

TEST_F(OpChecks, WantMemoryOutsideOfPlanning) {
  backend_->set_planning(false);
  EXPECT_THAT(message_of([&] { backend_->pointwise().run(SiluForward{.x = view({3}), .y = view({3})}); }),
              HasSubstr("has no memory"));
}

TEST_F(OpChecks, OfEveryFamily) {
  const std::int64_t rows = 6, width = 8;
  EXPECT_THAT(message_of([&] {
                backend_->norm().run(NormForward{.x = view({rows, width}),
                                                 .gain = view({width}),
                                                 .bias = view({width}),
                                                 .y = view({rows, width}),
                                                 .mean = view({rows}),
                                                 .inv_std = view({7})});
              }),
              HasSubstr("inv_std"));
  EXPECT_THAT(message_of([&] {
                backend_->attention().run(AttentionForward{
                    .qkv = view({rows, 20}), .layout = layout(rows), .out = view({rows, 8}), .heads = 3});
              }),
              HasSubstr("3 * heads * head_width"));
  EXPECT_THAT(message_of([&] {
                backend_->random().run(NoiseMix{.z = view({rows, width}),
                                                .layout = layout(rows),
                                                .sequence_visit = view({2}, DType::int64),
                                                .noised = view({rows, width})});
              }),
              HasSubstr("exactly one of row_time and sequence_time"));
  EXPECT_THAT(message_of([&] {
                backend_->loss().run(CrossEntropy{.logits = view({rows, 33}),
                                                  .targets = view({rows}),
                                                  .scale = view({1}),
                                                  .loss_sum = view({1}),
                                                  .unweighted_sum = view({1}),
                                                  .correct = view({1})});
              }),
              HasSubstr("targets has type float32; expected int32"));
  EXPECT_THAT(message_of([&] {
                backend_->reduce().run(GroupMoments{.z = view({rows, width}),
                                                    .row_group = view({rows}, DType::int32),
                                                    .count = view({2}),
                                                    .mean = view({2, width}),
                                                    .variance = view({3, width})});
              }),
              HasSubstr("variance"));
  EXPECT_THAT(message_of([&] { backend_->optimizer().run(SquaredNorm{.x = view({rows})}); }),
              HasSubstr("sum is absent"));
  EXPECT_THAT(message_of([&] { backend_->optimizer().run(AdamW{.grad = view({65})}); }), HasSubstr("multiple of 64"));
}

TEST_F(OpChecks, PlanningAddsUpNothingButTheLargestScratch) {
  EXPECT_EQ(backend_->planned_scratch_bytes(), 0U);
  backend_->optimizer().run(SquaredNorm{.x = view({1 << 20}), .sum = view({1})});
  const auto small = backend_->planned_scratch_bytes();
  EXPECT_GT(small, 0U);
  backend_->optimizer().run(SquaredNorm{.x = view({1 << 24}), .sum = view({1})});
  const auto large = backend_->planned_scratch_bytes();
  EXPECT_GT(large, small);
  backend_->optimizer().run(SquaredNorm{.x = view({1 << 20}), .sum = view({1})});
  EXPECT_EQ(backend_->planned_scratch_bytes(), large);
}

TEST(OpRanges, SurroundEveryLaunch) {
  const auto backend = backends::make_reference_backend();
  std::string seen;
  backend->op_context().begin_range = [&](std::string_view name) { seen += "<" + std::string(name); };
  backend->op_context().end_range = [&](std::string_view name) { seen += " " + std::string(name) + ">"; };
  float x = 1.0F, y = 0.0F;
  backend->pointwise().run(
      SiluForward{.x = ConstTensorView(&x, DType::float32, {1}), .y = TensorView(&y, DType::float32, {1})});
  EXPECT_EQ(seen, "<SiluForward SiluForward>");
}

}  // namespace
}  // namespace lsd
