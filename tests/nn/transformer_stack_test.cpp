// SPDX-License-Identifier: Apache-2.0
// Plain and adaptive stacks: gradients against finite differences, and the three levels of recomputation against each
// other.

#include "lsd/nn/transformer_stack.h"

#include <gtest/gtest.h>

#include "support/layer_check.h"
#include "support/packed_batch.h"
#include "support/recording_hooks.h"

namespace lsd::nn {
namespace {

using testing::ModelStep;
using testing::PackedBatch;

constexpr std::int64_t kRows = 14, kWidth = 16, kSequences = 4;

// Runs a stack on fixed input; conditioning is a second input of adaptive ones.
class StackRun {
 public:
  StackRun(bool adaptive, std::int64_t layers, DType activation = DType::float32, DType residual = DType::float32)
      : adaptive_(adaptive), stack_(store_, "stack", shape(adaptive, layers)) {
    run_.activation = activation;
    run_.residual = residual;
    store_.allocate(*backend_, activation, true);
    testing::randomise(store_, 0.25F, 11);
  }

  double loss() {
    auto step = run_.context();
    const ArenaScope scope(step.arena);
    stack_.forward(step, layout(), conditioning(), testing::view_of(x, {kRows, kWidth}),
                   testing::view_of(y, {kRows, kWidth}), nullptr);
    double sum = 0.0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += static_cast<double>(weights[i]) * y[i];
    return sum;
  }

  void backward(Recompute recompute) {
    run_.recompute = recompute;
    backend_->pointwise().run(Fill{.y = store_.grad_block(), .value = 0.0F});
    auto step = run_.context();
    const ArenaScope scope(step.arena);
    TransformerStack::Saved saved;
    const auto in = [&](std::vector<float>& values, Shape shape, DType type) {
      TensorView view = step.arena.allocate(type, shape);
      convert(step, testing::view_of(values, shape), view);
      return view;
    };
    const Shape shape{kRows, kWidth}, per_sequence{kSequences, kWidth};
    TensorView stream = in(x, shape, step.residual), grad_y = in(weights, shape, step.activation);
    ConstTensorView c = adaptive_ ? in(condition, per_sequence, step.activation) : TensorView();
    TensorView y_view = step.arena.allocate(step.activation, shape);
    stack_.forward(step, layout(), c, stream, y_view, &saved);
    TensorView grad_stream = step.arena.allocate(step.residual, shape);
    TensorView grad_c = adaptive_ ? step.arena.allocate(step.activation, per_sequence) : TensorView();
    stack_.backward(step, layout(), c, grad_y, saved, grad_stream, grad_c);
    convert(step, y_view, testing::view_of(y, shape));
    convert(step, grad_stream, testing::view_of(grad_x, shape));
    if (adaptive_) convert(step, grad_c, testing::view_of(grad_condition, per_sequence));
  }

  std::vector<float> gradients() const {
    const auto block = store_.grad_block().span<float>();
    std::vector<float> all(block.begin(), block.end());
    all.insert(all.end(), grad_x.begin(), grad_x.end());
    all.insert(all.end(), grad_condition.begin(), grad_condition.end());
    return all;
  }
  ParameterStore& store() { return store_; }
  ModelStep& run() { return run_; }

  std::vector<float> x = testing::random_values(kRows * kWidth, 1.0F, 1), grad_x = std::vector<float>(x.size());
  std::vector<float> condition = testing::random_values(kSequences * kWidth, 1.0F, 3);
  std::vector<float> grad_condition = std::vector<float>(condition.size());
  std::vector<float> y = std::vector<float>(x.size());
  std::vector<float> weights = testing::random_values(kRows * kWidth, 1.0F, 2);

 private:
  static StackShape shape(bool adaptive, std::int64_t layers) {
    return {.width = kWidth, .heads = 2, .layers = layers, .gelu = Gelu::erf, .adaptive = adaptive};
  }
  PackedLayout layout() const { return packed_.batch().layout; }
  ConstTensorView conditioning() {
    return adaptive_ ? testing::view_of(condition, {kSequences, kWidth}) : TensorView();
  }

  bool adaptive_;
  PackedBatch packed_{{{4, 5, 6}, {7}, {8, 9}}, kRows, kSequences};
  std::unique_ptr<Backend> backend_ = backends::make_reference_backend();
  ModelStep run_{*backend_};
  ParameterStore store_;
  TransformerStack stack_;
};

class StackTest : public ::testing::TestWithParam<bool> {};

TEST_P(StackTest, GradientsMatchDifferences) {
  StackRun stack(GetParam(), 2);
  // Dead rows enter no loss.
  for (std::int64_t i = 12 * kWidth; i < kRows * kWidth; ++i) stack.weights[static_cast<std::size_t>(i)] = 0.0F;
  stack.backward(Recompute::none);
  const auto loss = [&] { return stack.loss(); };
  testing::expect_gradient_matches("x", stack.x, stack.grad_x, loss, {.step = 1e-3, .relative = 2e-3});
  if (GetParam())
    testing::expect_gradient_matches("conditioning", stack.condition, stack.grad_condition, loss, {.step = 1e-3});
  testing::expect_parameter_gradients_match(stack.store(), loss, {.step = 1e-3, .relative = 3e-3});
}

TEST_P(StackTest, RecomputationChangesNoBit) {
  for (const auto residual : {DType::float32, DType::bfloat16})
    for (const auto activation : {DType::float32, DType::bfloat16}) {
      if (activation == DType::float32 && residual == DType::bfloat16) continue;
      StackRun stack(GetParam(), 3, activation, residual);
      stack.backward(Recompute::none);
      const auto kept = stack.gradients();
      for (const auto level : {Recompute::pointwise, Recompute::block}) {
        SCOPED_TRACE(static_cast<int>(level));
        stack.backward(level);
        EXPECT_EQ(stack.gradients(), kept);
      }
    }
}

TEST_P(StackTest, RecomputationSavesMemory) {
  std::vector<std::size_t> peaks;
  for (const auto level : {Recompute::none, Recompute::pointwise, Recompute::block}) {
    StackRun stack(GetParam(), 6);
    stack.backward(level);
    peaks.push_back(stack.run().arena().peak_bytes());
  }
  EXPECT_LT(peaks[1], peaks[0]);
  EXPECT_LT(peaks[2], peaks[1]);
}

TEST_P(StackTest, EachGradientIsReportedFinalOnceWhenItIs) {
  StackRun stack(GetParam(), 3);
  testing::RecordingHooks hooks(stack.store());
  stack.run().hooks = &hooks;
  stack.backward(Recompute::none);
  hooks.expect_whole_block_final_once();
}

TEST_P(StackTest, InferenceEqualsTrainingForwardAndLeavesNothingBehind) {
  StackRun stack(GetParam(), 3);
  stack.backward(Recompute::none);
  double kept = 0.0;
  for (std::size_t i = 0; i < stack.y.size(); ++i) kept += static_cast<double>(stack.weights[i]) * stack.y[i];
  EXPECT_EQ(stack.loss(), kept);
  EXPECT_EQ(stack.run().arena().mark(), 0U);
}
INSTANTIATE_TEST_SUITE_P(PlainAndAdaptive, StackTest, ::testing::Bool());

}  // namespace
}  // namespace lsd::nn
