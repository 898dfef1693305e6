// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/op_cases.h"
#include "lsd/backends/make_backend.h"
#include "lsd/core/error.h"
#include "support/expect_error.h"

namespace lsd::testing {
namespace {

const CaseSizes kSmall{.label = "small", .lengths = {40, 1, 30}, .dead_rows = 3, .width = 16, .heads = 2, .inner = 20};

TEST(CheckedBackend, FindsNothingOnTheCpu) {
  const auto backend = backends::make_backend("checked", {.threads = 2});
  for (const auto& op_case : op_cases(kSmall)) {
    Operands operands(*backend, DType::float32, 3);
    EXPECT_NO_THROW(plan_and_run(*backend, op_case.make(operands))) << op_case.name;
  }
}

// The CPU with one wrong op: a fault that only a comparison can see.
class FaultyOps : public OptimizerOps {
 public:
  FaultyOps(OpContext& context, OptimizerOps& right) : OptimizerOps(context), right_(right) {}

 private:
  void launch(const SquaredNorm& op) override {
    right_.run(op);
    op.sum.data<float>()[0] *= 1.01F;
  }
  void launch(const AdamW& op) override { right_.run(op); }
  OptimizerOps& right_;
};

class FaultyBackend : public Backend {
 public:
  std::string_view name() const override { return "faulty"; }
  std::string description() const override { return "faulty"; }
  Device device() const override { return Device::host; }
  MatrixOps& matrix() override { return right_->matrix(); }
  NormOps& norm() override { return right_->norm(); }
  AttentionOps& attention() override { return right_->attention(); }
  PointwiseOps& pointwise() override { return right_->pointwise(); }
  RandomOps& random() override { return right_->random(); }
  LossOps& loss() override { return right_->loss(); }
  ReduceOps& reduce() override { return right_->reduce(); }
  OptimizerOps& optimizer() override { return optimizer_; }
  DeviceMemory allocate(std::size_t bytes) override { return right_->allocate(bytes); }
  void copy_to_device(TensorView to, const void* from) override { right_->copy_to_device(to, from); }
  void copy_to_host(void* to, ConstTensorView from) override { right_->copy_to_host(to, from); }
  void copy_on_device(TensorView to, ConstTensorView from) override { right_->copy_on_device(to, from); }
  void synchronize() override {}

 private:
  std::unique_ptr<Backend> right_ = backends::make_reference_backend();
  FaultyOps optimizer_{context_, right_->optimizer()};
};

TEST(CheckedBackend, NamesTheOpAndTheOperandThatDiffer) {
  const auto backend =
      backends::make_checked_backend(std::make_unique<FaultyBackend>(), backends::make_reference_backend());
  std::vector<float> x{3, 4}, sum{0};
  expect_error<InternalError>(
      [&] {
        backend->optimizer().run(SquaredNorm{.x = ConstTensorView(x.data(), DType::float32, {2}),
                                             .sum = TensorView(sum.data(), DType::float32, {1})});
      },
      {"SquaredNorm", "operand sum", "instead of 25"});
}

}  // namespace
}  // namespace lsd::testing
