// SPDX-License-Identifier: Apache-2.0
// Gradients of the losses, on the reference backend, against finite differences.
#include "backends/finite_differences.h"

namespace lsd::testing {
namespace {

TEST_F(Gradients, CrossEntropy) {
  std::vector<std::int32_t> targets{2, -1, 0, 4};
  HostTensor logits = random_tensor({4, 5}, 1), time({4}, {0.3F, 0.9F, 0.7F, 1.0F}), scale({1}, {0.25F});
  HostTensor grad({4, 5}), sum({1}), unweighted({1}), correct({1});
  const auto run = [&](TensorView grad_view) {
    sum.data[0] = 0.0F;
    backend_->loss().run(CrossEntropy{.logits = logits.view(),
                                      .targets = ConstTensorView(targets.data(), DType::int32, {4}),
                                      .row_time = time.view(),
                                      .scale = scale.view(),
                                      .grad_logits = grad_view,
                                      .loss_sum = sum.view(),
                                      .unweighted_sum = unweighted.view(),
                                      .correct = correct.view()});
    return 0.25 * static_cast<double>(sum.data[0]);
  };
  run(grad.view());
  expect_gradient(
      logits, grad, [&] { return run({}); }, "logits");
}

TEST_F(Gradients, SquaredError) {
  const HostLayout layout({3, 2}, 1);
  std::vector<std::uint8_t> mask{0, 1, 1, 1, 0, 0};
  HostTensor prediction = random_tensor({6, 4}, 1), target = random_tensor({6, 4}, 2), weight({2}, {0.5F, 2.0F}),
             scale({1}, {0.5F}), grad({6, 4}), losses({2}), sum({1}), unweighted({1});
  const auto run = [&](TensorView grad_view) {
    sum.data[0] = 0.0F;
    backend_->loss().run(SquaredError{.prediction = prediction.view(),
                                      .target = target.view(),
                                      .row_mask = ConstTensorView(mask.data(), DType::uint8, {6}),
                                      .row_sequence = layout.view().row_sequence,
                                      .offsets = layout.view().offsets,
                                      .weight = weight.view(),
                                      .scale = scale.view(),
                                      .grad_prediction = grad_view,
                                      .sequence_loss = losses.view(),
                                      .loss_sum = sum.view(),
                                      .unweighted_sum = unweighted.view()});
    return 0.5 * static_cast<double>(sum.data[0]);
  };
  run(grad.view());
  expect_gradient(
      prediction, grad, [&] { return run({}); }, "prediction");
}

// Groups of the normalisation losses: two that count, one too small, and rows of none.
struct Groups {
  std::vector<std::int32_t> row_group{0, 1, 0, -1, 1, 0, 2, 1, 0, 1};
  HostTensor z = random_tensor({10, 3}, 1), count{{3}}, mean{{3, 3}}, variance{{3, 3}}, share{{1}, {0.5F}}, loss{{1}},
             grad_in{{10, 3}}, grad_z{{10, 3}};
  ConstTensorView groups() const { return {row_group.data(), DType::int32, {10}}; }
  void moments(Backend& backend) {
    loss.data[0] = 0.0F;
    backend.reduce().run(GroupMoments{
        .z = z.view(), .row_group = groups(), .count = count.view(), .mean = mean.view(), .variance = variance.view()});
  }
};

TEST_F(Gradients, UnivariateKl) {
  Groups g;
  HostTensor offset({3, 3}), slope({3, 3});
  const auto loss = [&] {
    g.moments(*backend_);
    backend_->reduce().run(UnivariateKl{.count = g.count.view(),
                                        .mean = g.mean.view(),
                                        .variance = g.variance.view(),
                                        .offset = offset.view(),
                                        .slope = slope.view(),
                                        .loss = g.loss.view(),
                                        .min_count = 2.0F});
    return 0.7 * 0.5 * static_cast<double>(g.loss.data[0]);
  };
  loss();
  backend_->reduce().run(MomentGradient{.grad_in = g.grad_in.view(),
                                        .z = g.z.view(),
                                        .row_group = g.groups(),
                                        .mean = g.mean.view(),
                                        .offset = offset.view(),
                                        .slope = slope.view(),
                                        .grad_z = g.grad_z.view(),
                                        .share = g.share.view(),
                                        .weight = 0.7F});
  expect_gradient(g.z, g.grad_z, loss, "z");
}

TEST_F(Gradients, MultivariateKl) {
  Groups g;
  const auto run = [&](bool gradient) {
    g.moments(*backend_);
    MultivariateKl op{.z = g.z.view(),
                      .row_group = g.groups(),
                      .count = g.count.view(),
                      .mean = g.mean.view(),
                      .share = g.share.view(),
                      .loss = g.loss.view(),
                      .min_count = 2.0F,
                      .shrinkage = 0.2F,
                      .weight = 0.7F};
    if (gradient) {
      op.grad_in = g.grad_in.view();
      op.grad_z = g.grad_z.view();
    }
    backend_->reduce().run(op);
    return 0.7 * 0.5 * static_cast<double>(g.loss.data[0]);
  };
  run(true);
  expect_gradient(
      g.z, g.grad_z, [&] { return run(false); }, "z");
}

}  // namespace
}  // namespace lsd::testing
