// SPDX-License-Identifier: Apache-2.0
// Every backward of layers, on the reference backend, against finite differences of its forward.
#include "backends/finite_differences.h"

namespace lsd::testing {
namespace {

TEST_F(Gradients, LinearAndGelu) {
  for (const Gelu gelu : {Gelu::none, Gelu::erf, Gelu::tanh}) {
    HostTensor x = random_tensor({5, 7}, 1), weight = random_tensor({6, 7}, 2), bias = random_tensor({6}, 3);
    HostTensor y({5, 6}), pre({5, 6}), grad_y = random_tensor({5, 6}, 4);
    const auto loss = [&] {
      LinearForward op{.x = x.view(), .weight = weight.view(), .bias = bias.view(), .y = y.view(), .gelu = gelu};
      if (gelu != Gelu::none) op.pre_activation = pre.view();
      backend_->matrix().run(op);
      return weighted(y, grad_y);
    };
    loss();
    HostTensor grad_pre = grad_y, grad_x({5, 7}), grad_weight({6, 7}), grad_bias({6});
    if (gelu != Gelu::none)
      backend_->pointwise().run(
          GeluBackward{.grad_y = grad_y.view(), .x = pre.view(), .grad_x = grad_pre.view(), .gelu = gelu});
    backend_->matrix().run(
        LinearBackwardInput{.grad_y = grad_pre.view(), .weight = weight.view(), .grad_x = grad_x.view()});
    backend_->matrix().run(LinearBackwardWeight{
        .grad_y = grad_pre.view(), .x = x.view(), .grad_weight = grad_weight.view(), .grad_bias = grad_bias.view()});
    expect_gradient(x, grad_x, loss, "x");
    expect_gradient(weight, grad_weight, loss, "weight");
    expect_gradient(bias, grad_bias, loss, "bias");
  }
}

TEST_F(Gradients, LinearBackwardInputThroughGelu) {
  for (const Gelu gelu : {Gelu::erf, Gelu::tanh}) {
    HostTensor u = random_tensor({4, 5}, 1), weight = random_tensor({3, 5}, 2), grad_y = random_tensor({4, 3}, 3);
    HostTensor x({4, 5}), y({4, 3}), grad_u({4, 5});
    const auto loss = [&] {
      backend_->pointwise().run(GeluForward{.x = u.view(), .y = x.view(), .gelu = gelu});
      backend_->matrix().run(LinearForward{.x = x.view(), .weight = weight.view(), .y = y.view()});
      return weighted(y, grad_y);
    };
    backend_->matrix().run(LinearBackwardInput{.grad_y = grad_y.view(),
                                               .weight = weight.view(),
                                               .gelu_input = u.view(),
                                               .grad_x = grad_u.view(),
                                               .gelu = gelu});
    expect_gradient(u, grad_u, loss, "gelu_input");
  }
}

TEST_F(Gradients, Silu) {
  HostTensor x = random_tensor({3, 5}, 1), y({3, 5}), grad_y = random_tensor({3, 5}, 2), grad_x({3, 5});
  backend_->pointwise().run(SiluBackward{.grad_y = grad_y.view(), .x = x.view(), .grad_x = grad_x.view()});
  expect_gradient(
      x, grad_x,
      [&] {
        backend_->pointwise().run(SiluForward{.x = x.view(), .y = y.view()});
        return weighted(y, grad_y);
      },
      "x");
}

TEST_F(Gradients, Norm) {
  HostTensor x = random_tensor({4, 9}, 1), delta = random_tensor({4, 9}, 2), gain = random_tensor({9}, 3),
             bias = random_tensor({9}, 4), sum({4, 9}), y({4, 9}), mean({4}), inv_std({4});
  HostTensor grad_y = random_tensor({4, 9}, 5), grad_sum = random_tensor({4, 9}, 6), grad_x({4, 9}), grad_gain({9}),
             grad_bias({9});
  const auto loss = [&] {
    backend_->norm().run(NormForward{.x = x.view(),
                                     .delta = delta.view(),
                                     .gain = gain.view(),
                                     .bias = bias.view(),
                                     .sum = sum.view(),
                                     .y = y.view(),
                                     .mean = mean.view(),
                                     .inv_std = inv_std.view()});
    return weighted(y, grad_y) + weighted(sum, grad_sum);
  };
  loss();
  backend_->norm().run(NormBackward{.grad_y = grad_y.view(),
                                    .sum = sum.view(),
                                    .gain = gain.view(),
                                    .mean = mean.view(),
                                    .inv_std = inv_std.view(),
                                    .grad_sum = grad_sum.view(),
                                    .grad_x = grad_x.view(),
                                    .grad_gain = grad_gain.view(),
                                    .grad_bias = grad_bias.view()});
  expect_gradient(x, grad_x, loss, "x");
  expect_gradient(delta, grad_x, loss, "delta");
  expect_gradient(gain, grad_gain, loss, "gain");
  expect_gradient(bias, grad_bias, loss, "bias");
}

TEST_F(Gradients, AdaptiveNorm) {
  const HostLayout layout({3, 2}, 2, 1);  // two sequences, two dead rows, one spare slot
  const std::int64_t rows = 7, width = 5, slots = 3;
  HostTensor x = random_tensor({rows, width}, 1), delta = random_tensor({rows, width}, 2);
  HostTensor gates = random_tensor({slots, 2 * width}, 3), modulation = random_tensor({slots, 3 * width}, 4);
  HostTensor sum({rows, width}), y({rows, width}), mean({rows}), inv_std({rows});
  HostTensor grad_y = random_tensor({rows, width}, 5), grad_sum = random_tensor({rows, width}, 6);
  const auto loss = [&] {
    backend_->norm().run(AdaptiveNormForward{.x = x.view(),
                                             .delta = delta.view(),
                                             .gate_modulation = gates.view(),
                                             .modulation = modulation.view(),
                                             .row_sequence = layout.view().row_sequence,
                                             .sum = sum.view(),
                                             .y = y.view(),
                                             .mean = mean.view(),
                                             .inv_std = inv_std.view(),
                                             .gate_chunk = 1,
                                             .shift_chunk = 2,
                                             .scale_chunk = 0});
    return weighted(y, grad_y) + weighted(sum, grad_sum);
  };
  loss();
  HostTensor grad_x({rows, width}), grad_delta({rows, width}), grad_gates({slots, 2 * width}),
      grad_modulation({slots, 3 * width});
  backend_->norm().run(AdaptiveNormBackward{.grad_y = grad_y.view(),
                                            .sum = sum.view(),
                                            .mean = mean.view(),
                                            .inv_std = inv_std.view(),
                                            .grad_sum = grad_sum.view(),
                                            .delta = delta.view(),
                                            .gate_modulation = gates.view(),
                                            .modulation = modulation.view(),
                                            .row_sequence = layout.view().row_sequence,
                                            .offsets = layout.view().offsets,
                                            .grad_x = grad_x.view(),
                                            .grad_delta = grad_delta.view(),
                                            .grad_modulation = grad_modulation.view(),
                                            .grad_gate_modulation = grad_gates.view(),
                                            .gate_chunk = 1,
                                            .shift_chunk = 2,
                                            .scale_chunk = 0});
  expect_gradient(x, grad_x, loss, "x");
  expect_gradient(delta, grad_delta, loss, "delta");
  expect_gradient(gates, grad_gates, loss, "gate_modulation");
  expect_gradient(modulation, grad_modulation, loss, "modulation");
}

TEST_F(Gradients, Attention) {
  const HostLayout layout({4, 1, 3}, 2);
  const std::int64_t rows = 10, width = 12;
  HostTensor qkv = random_tensor({rows, 3 * width}, 1), out({rows, width}), log_sum_exp({2, rows});
  HostTensor grad_out = random_tensor({rows, width}, 2), grad_qkv({rows, 3 * width});
  const auto loss = [&] {
    backend_->attention().run(AttentionForward{
        .qkv = qkv.view(), .layout = layout.view(), .out = out.view(), .log_sum_exp = log_sum_exp.view(), .heads = 2});
    return weighted(out, grad_out);
  };
  loss();
  backend_->attention().run(AttentionBackward{.grad_out = grad_out.view(),
                                              .qkv = qkv.view(),
                                              .out = out.view(),
                                              .log_sum_exp = log_sum_exp.view(),
                                              .layout = layout.view(),
                                              .grad_qkv = grad_qkv.view(),
                                              .heads = 2});
  expect_gradient(qkv, grad_qkv, loss, "qkv");
}

TEST_F(Gradients, Embedding) {
  std::vector<std::int32_t> tokens{2, 0, 2, 1};
  HostTensor table = random_tensor({3, 4}, 1), scale = random_tensor({4}, 2), y({4, 4}),
             grad_y = random_tensor({4, 4}, 3), grad_table({3, 4});
  const ConstTensorView token_view(tokens.data(), DType::int32, {4});
  backend_->pointwise().run(EmbeddingBackward{
      .tokens = token_view, .grad_y = grad_y.view(), .row_scale = scale.view(), .grad_table = grad_table.view()});
  expect_gradient(
      table, grad_table,
      [&] {
        backend_->pointwise().run(
            EmbeddingForward{.tokens = token_view, .table = table.view(), .row_scale = scale.view(), .y = y.view()});
        return weighted(y, grad_y);
      },
      "table");
}

TEST_F(Gradients, NoiseMix) {
  const HostLayout layout({3, 2}, 1);
  std::vector<std::int64_t> visits{5, 9};
  HostTensor z = random_tensor({6, 8}, 1), time = random_tensor({6}, 2), noised({6, 8}),
             grad = random_tensor({6, 8}, 3), grad_z({6, 8});
  for (auto& t : time.data) t = 0.5F + 0.4F * std::tanh(t);
  backend_->random().run(NoiseMixBackward{.grad_noised = grad.view(),
                                          .row_time = time.view(),
                                          .row_sequence = layout.view().row_sequence,
                                          .grad_z = grad_z.view()});
  expect_gradient(
      z, grad_z,
      [&] {
        backend_->random().run(NoiseMix{.z = z.view(),
                                        .layout = layout.view(),
                                        .sequence_visit = ConstTensorView(visits.data(), DType::int64, {2}),
                                        .row_time = time.view(),
                                        .noised = noised.view(),
                                        .key = random_key(3, RandomStream::nm_noise)});
        return weighted(noised, grad);
      },
      "z");
}

}  // namespace
}  // namespace lsd::testing
