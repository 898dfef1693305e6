// SPDX-License-Identifier: Apache-2.0
// Losses, reductions and the optimizer by values worked out by hand.
#include <limits>

#include "backends/hand_worked.h"
#include "lsd/core/error.h"
#include "lsd/tensor/step_scalars.h"

namespace lsd::testing {
namespace {

TEST_F(HandWorked, CrossEntropyOfTwoClasses) {
  std::vector<std::int32_t> targets{1, -1, 0};
  HostTensor logits({3, 2}, {0, 0, 5, 5, 2, 2}), scale({1}, {2}), grad({3, 2}), sum({1}, {1}), unweighted({1}),
      correct({1});
  HostTensor time({3}, {0.5F, 1, 1});
  backend_->loss().run(CrossEntropy{.logits = logits.view(),
                                    .targets = ConstTensorView(targets.data(), DType::int32, {3}),
                                    .row_time = time.view(),
                                    .scale = scale.view(),
                                    .grad_logits = grad.view(),
                                    .loss_sum = sum.view(),
                                    .unweighted_sum = unweighted.view(),
                                    .correct = correct.view()});
  const float ln2 = std::log(2.0F);
  expect_values(sum, {1 + 1.5F * ln2});  // weights sin^2(pi/4) = 1/2 and 1
  expect_values(unweighted, {2 * ln2});
  expect_values(correct, {1});  // on ties the lowest class is the guess
  expect_values(grad, {0.5F, -0.5F, 0, 0, -1, 1});
}

TEST_F(HandWorked, SquaredErrorCountsMaskedRowsPerSequence) {
  const HostLayout layout({2, 1}, 1);
  std::vector<std::uint8_t> mask{1, 0, 1, 1};
  HostTensor prediction({4, 2}, {1, 3, 9, 9, 2, 2, 5, 5}), target({4, 2}), weight({2}, {2, 10}), scale({1}, {0.5F}),
      grad({4, 2}), losses({2}), sum({1}, {1}), unweighted({1}, {100});
  backend_->loss().run(SquaredError{.prediction = prediction.view(),
                                    .target = target.view(),
                                    .row_mask = ConstTensorView(mask.data(), DType::uint8, {4}),
                                    .row_sequence = layout.view().row_sequence,
                                    .offsets = layout.view().offsets,
                                    .weight = weight.view(),
                                    .scale = scale.view(),
                                    .grad_prediction = grad.view(),
                                    .sequence_loss = losses.view(),
                                    .loss_sum = sum.view(),
                                    .unweighted_sum = unweighted.view()});
  expect_values(losses, {5, 4});
  expect_values(sum, {1 + 2 * 5 + 10 * 4});
  expect_values(unweighted, {100 + 5 + 4});
  expect_values(grad, {1, 3, 0, 0, 10, 10, 0, 0});
}

TEST_F(HandWorked, MomentsAndTheirDivergence) {
  std::vector<std::int32_t> row_group{0, 0, -1};
  const ConstTensorView groups(row_group.data(), DType::int32, {3});
  HostTensor z({3, 1}, {1, 5, 100}), count({2}), mean({2, 1}), variance({2, 1}), offset({2, 1}), slope({2, 1}),
      loss({1});
  backend_->reduce().run(GroupMoments{
      .z = z.view(), .row_group = groups, .count = count.view(), .mean = mean.view(), .variance = variance.view()});
  expect_values(count, {2, 0});
  expect_values(mean, {3, 0});
  expect_values(variance, {4, 0});
  backend_->reduce().run(UnivariateKl{.count = count.view(),
                                      .mean = mean.view(),
                                      .variance = variance.view(),
                                      .offset = offset.view(),
                                      .slope = slope.view(),
                                      .loss = loss.view()});
  const float expected = 0.5F * (9 + 4 - 1 - std::log(4.0F));
  expect_values(loss, {expected});
  expect_values(offset, {1.5F, 0});
  expect_values(slope, {0.375F, 0});
  HostTensor multivariate({1});  // one dimension: the same divergence, of variance 0.5 * 4 + 0.5
  backend_->reduce().run(MultivariateKl{.z = z.view(),
                                        .row_group = groups,
                                        .count = count.view(),
                                        .mean = mean.view(),
                                        .loss = multivariate.view(),
                                        .shrinkage = 0.5F});
  expect_values(multivariate, {0.5F * (9 + 2.5F - 1 - std::log(2.5F))});
}

// Rows (0,0) (2,2) (2,0) (4,2): mean (2,1), covariance (2 1; 1 1); with shrinkage one half (1.5 0.5; 0.5 1), of
// trace 2.5 and determinant 1.25.
TEST_F(HandWorked, MultivariateKlOfTwoDimensions) {
  std::vector<std::int32_t> row_group{0, 0, -1, 0, 0};
  const ConstTensorView groups(row_group.data(), DType::int32, {5});
  HostTensor z({5, 2}, {0, 0, 2, 2, 77, 88, 2, 0, 4, 2}), count({1}), mean({1, 2}), variance({1, 2}), loss({1});
  backend_->reduce().run(GroupMoments{
      .z = z.view(), .row_group = groups, .count = count.view(), .mean = mean.view(), .variance = variance.view()});
  expect_values(mean, {2, 1});
  expect_values(variance, {2, 1});
  backend_->reduce().run(MultivariateKl{.z = z.view(),
                                        .row_group = groups,
                                        .count = count.view(),
                                        .mean = mean.view(),
                                        .loss = loss.view(),
                                        .shrinkage = 0.5F});
  expect_values(loss, {0.25F * (4 + 1 + 2.5F - 2 - std::log(1.25F))});  // 1 / (2 d)
}

TEST_F(HandWorked, SequenceMeanOfMaskedRows) {
  const HostLayout layout({3, 1}, 1);
  std::vector<std::uint8_t> mask{1, 0, 1, 0, 1};
  HostTensor x({5, 1}, {1, 50, 5, 70, 90}), mean({2, 1}, {-1, -1});
  backend_->reduce().run(SequenceMean{.x = x.view(),
                                      .row_mask = ConstTensorView(mask.data(), DType::uint8, {5}),
                                      .layout = layout.view(),
                                      .mean = mean.view()});
  expect_values(mean, {3, 0});
}

struct AdamState {
  HostTensor grad{{64}}, master{{64}}, first{{64}}, second{{64}}, ema{{64}}, compute{{64}},
      scalars{{StepScalars::kSlots}}, squared_norm{{1}};
  std::vector<std::uint8_t> decay{1};
  AdamState() {
    grad.data[0] = 4.0F;
    master.data[0] = 2.0F;
    squared_norm.data[0] = 16.0F;
    scalars.data[StepScalars::learning_rate] = 0.1F;
    scalars.data[StepScalars::bias_correction1] = 0.1F;
    scalars.data[StepScalars::bias_correction2] = 0.02F;
    scalars.data[StepScalars::gradient_scale] = 0.5F;
    scalars.data[StepScalars::clip_norm] = 1.0F;
    scalars.data[StepScalars::ema_decay] = 0.75F;
  }
  void run(Backend& backend) {
    backend.optimizer().run(AdamW{.grad = grad.view(),
                                  .decay_blocks = ConstTensorView(decay.data(), DType::uint8, {1}),
                                  .scalars = scalars.view(),
                                  .squared_norm = squared_norm.view(),
                                  .master = master.view(),
                                  .first_moment = first.view(),
                                  .second_moment = second.view(),
                                  .ema = ema.view(),
                                  .compute = compute.view(),
                                  .weight_decay = 0.5F});
  }
};

// grad * scale = 2, norm 2 clipped to 1: g = 1. First step: the update is sign(g) whatever its size.
TEST_F(HandWorked, AdamWFirstStep) {
  AdamState state;
  state.run(*backend_);
  EXPECT_NEAR(state.first.data[0], 0.1F, 1e-6F);
  EXPECT_NEAR(state.second.data[0], 0.02F, 1e-6F);
  EXPECT_NEAR(state.master.data[0], 2.0F - 0.1F * (1.0F + 0.5F * 2.0F), 1e-6F);
  EXPECT_NEAR(state.ema.data[0], 0.25F * state.master.data[0], 1e-6F);
  EXPECT_EQ(state.compute.data[0], state.master.data[0]);
}

TEST_F(HandWorked, AdamWDoesNothingWhenSkippedOrNotFinite) {
  for (const bool skip : {true, false}) {
    AdamState state;
    if (skip)
      state.scalars.data[StepScalars::skip] = 1.0F;
    else
      state.squared_norm.data[0] = std::numeric_limits<float>::infinity();
    state.run(*backend_);
    EXPECT_EQ(state.master.data[0], 2.0F);
    EXPECT_EQ(state.first.data[0], 0.0F);
    EXPECT_EQ(state.compute.data[0], 0.0F);
  }
}

TEST_F(HandWorked, SquaredNormAccumulates) {
  HostTensor x({2}, {3, 4}), sum({1}, {100});
  backend_->optimizer().run(SquaredNorm{.x = x.view(), .sum = sum.view()});
  expect_values(sum, {125});
}

TEST(MultivariateKlOnEveryBackend, SaysWhenTheCovarianceIsSingular) {
  for (const char* name : {"reference", "cpu"}) {
    const auto backend = backends::make_backend(name, {.threads = 1});
    std::vector<std::int32_t> row_group{0, 0};
    HostTensor z({2, 2}, {1, 1, 2, 2}), count({1}, {2}), mean({1, 2}, {1.5F, 1.5F}), loss({1});
    const MultivariateKl op{.z = z.view(),
                            .row_group = ConstTensorView(row_group.data(), DType::int32, {2}),
                            .count = count.view(),
                            .mean = mean.view(),
                            .loss = loss.view(),
                            .shrinkage = 0.0F};
    backend->set_planning(true);
    backend->reduce().run(op);
    backend->set_planning(false);
    backend->reserve_scratch(backend->planned_scratch_bytes());
    EXPECT_THROW(backend->reduce().run(op), SystemError) << name;
  }
}

}  // namespace
}  // namespace lsd::testing
