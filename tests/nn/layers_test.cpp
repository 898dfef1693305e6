// SPDX-License-Identifier: Apache-2.0
// Every layer's backward against finite differences, on the reference backend.

#include <gtest/gtest.h>

#include "lsd/nn/attention.h"
#include "lsd/nn/embedding.h"
#include "lsd/nn/feed_forward.h"
#include "lsd/nn/layer_norm.h"
#include "lsd/nn/time_embedding.h"
#include "support/layer_check.h"
#include "support/packed_batch.h"

namespace lsd::nn {
namespace {

using testing::ModelStep;
using testing::PackedBatch;

class LayerTest : public ::testing::Test {
 protected:
  void allocate(float deviation) {
    store_.allocate(*backend_, DType::float32, true);
    testing::randomise(store_, deviation, 11);
  }

  std::unique_ptr<Backend> backend_ = backends::make_reference_backend();
  ModelStep run_{*backend_};
  ParameterStore store_;
};

TEST_F(LayerTest, LinearGradientsMatchDifferences) {
  const Linear linear(store_, "linear", 6, 5, {});
  allocate(0.3F);
  expect_layer_gradients_match(
      run_, {.store = store_,
             .x_shape = {7, 6},
             .y_shape = {7, 5},
             .forward = [&](StepContext& step, ConstTensorView x, TensorView y) { linear.forward(step, x, y); },
             .backward =
                 [&](StepContext& step, ConstTensorView x, ConstTensorView grad_y, TensorView grad_x) {
                   linear.backward_weight(step, grad_y, x);
                   linear.backward_input(step, grad_y, grad_x);
                 }});
}

TEST_F(LayerTest, ParameterGradientsAccumulateAndInputGradientsAreOverwritten) {
  const Linear linear(store_, "linear", 6, 5, {});
  allocate(0.3F);
  auto x = testing::random_values(42, 1.0F, 1), grad_y = testing::random_values(35, 1.0F, 2);
  std::vector<float> once(42), twice(42);
  auto step = run_.context();
  const auto pass = [&](std::vector<float>& grad_x) {
    linear.backward_weight(step, testing::view_of(grad_y, {7, 5}), testing::view_of(x, {7, 6}));
    linear.backward_input(step, testing::view_of(grad_y, {7, 5}), testing::view_of(grad_x, {7, 6}));
    return std::vector<float>(store_.grad_block().span<float>().begin(), store_.grad_block().span<float>().end());
  };
  const auto first = pass(once), second = pass(twice);
  EXPECT_EQ(once, twice);
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_FLOAT_EQ(second[i], 2 * first[i]);
}

TEST_F(LayerTest, LayerNormGradientsMatchDifferences) {
  const LayerNorm norm(store_, "norm", 9);
  allocate(0.3F);
  NormSaved saved;
  expect_layer_gradients_match(
      run_, {.store = store_,
             .x_shape = {5, 9},
             .y_shape = {5, 9},
             .forward =
                 [&](StepContext& step, ConstTensorView x, TensorView y) {
                   NormSaved unused;
                   norm.forward(step, x, {}, {}, y, unused);
                 },
             .backward =
                 [&](StepContext& step, ConstTensorView x, ConstTensorView grad_y, TensorView grad_x) {
                   norm.forward(step, x, {}, {}, step.arena.like(x), saved);
                   norm.backward(step, grad_y, saved, {}, grad_x);
                 }});
}

TEST_F(LayerTest, AttentionGradientsMatchDifferences) {
  const PackedBatch packed({{4, 5, 6}, {7}, {8, 9, 10, 11}}, 16, 5);
  const auto layout = packed.batch().layout;
  const Attention attention(store_, "attention", 16, 2, {});
  allocate(0.3F);
  expect_layer_gradients_match(
      run_,
      {.store = store_,
       .x_shape = {16, 16},
       .y_shape = {16, 16},
       .forward = [&](StepContext& step, ConstTensorView x,
                      TensorView y) { attention.forward(step, layout, x, attention.allocate(step, 16, false), y); },
       .backward =
           [&](StepContext& step, ConstTensorView x, ConstTensorView grad_y, TensorView grad_x) {
             const auto saved = attention.allocate(step, 16, true);
             attention.forward(step, layout, x, saved, step.arena.like(x));
             attention.backward(step, layout, grad_y, x, saved, grad_x);
           }},
      // The key's bias moves all scores of a query alike, so its derivative is 0 and only the tensor's norm counts.
      {.step = 1e-3, .relative = 2e-3});
}

class FeedForwardTest : public LayerTest, public ::testing::WithParamInterface<Gelu> {};

TEST_P(FeedForwardTest, GradientsMatchDifferencesWithGeluKeptOrComputedAgain) {
  const FeedForward layer(store_, "feed_forward", 8, GetParam(), {});
  allocate(0.3F);
  for (const bool keep_up : {true, false}) {
    SCOPED_TRACE(keep_up);
    run_.backend().pointwise().run(Fill{.y = store_.grad_block(), .value = 0.0F});
    expect_layer_gradients_match(
        run_, {.store = store_,
               .x_shape = {6, 8},
               .y_shape = {6, 8},
               .forward =
                   [&](StepContext& step, ConstTensorView x, TensorView y) {
                     FeedForward::Saved saved;
                     layer.forward(step, x, saved, y);
                   },
               .backward =
                   [&](StepContext& step, ConstTensorView x, ConstTensorView grad_y, TensorView grad_x) {
                     FeedForward::Saved saved;
                     layer.forward(step, x, saved, {});
                     if (!keep_up) saved.up = {};
                     layer.backward(step, grad_y, x, saved, grad_x);
                   }});
  }
}
INSTANTIATE_TEST_SUITE_P(BothGelus, FeedForwardTest, ::testing::Values(Gelu::erf, Gelu::tanh));

TEST_F(LayerTest, EmbeddingGradientsMatchDifferencesWithRowScale) {
  const Embedding embedding(store_, "embedding", 5, 4);
  allocate(0.5F);
  const std::vector<std::int32_t> tokens{0, 3, 3, 1, 4, 2, 3};
  const std::vector<float> scale{1.0F, 0.5F, 2.0F, 1.0F, 0.0F, 1.0F, 1.0F};
  const ConstTensorView token_view(tokens.data(), DType::int32, Shape{7}),
      scale_view(scale.data(), DType::float32, Shape{7});
  auto step = run_.context();
  std::vector<float> y(28);
  auto weights = testing::random_values(28, 1.0F, 2);
  const auto loss = [&] {
    embedding.forward(step, token_view, scale_view, testing::view_of(y, {7, 4}));
    double sum = 0.0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += static_cast<double>(weights[i]) * y[i];
    return sum;
  };
  embedding.backward(step, token_view, scale_view, testing::view_of(weights, {7, 4}));
  testing::expect_parameter_gradients_match(store_, loss);
}

TEST_F(LayerTest, TimeEmbeddingGradientsMatchDifferences) {
  const TimeEmbedding layer(store_, "time", 16, 8);
  allocate(0.4F);
  std::vector<float> time{0.0F, 0.31F, 0.77F, 1.0F}, y(32);
  auto weights = testing::random_values(32, 1.0F, 2);
  auto step = run_.context();
  const auto loss = [&] {
    const ArenaScope scope(step.arena);
    TimeEmbedding::Saved saved;
    layer.forward(step, testing::view_of(time, {4}), testing::view_of(y, {4, 8}), saved);
    double sum = 0.0;
    for (std::size_t i = 0; i < y.size(); ++i) sum += static_cast<double>(weights[i]) * y[i];
    return sum;
  };
  TimeEmbedding::Saved saved;
  layer.forward(step, testing::view_of(time, {4}), testing::view_of(y, {4, 8}), saved);
  layer.backward(step, testing::view_of(weights, {4, 8}), saved);
  testing::expect_parameter_gradients_match(store_, loss);
}

}  // namespace
}  // namespace lsd::nn
