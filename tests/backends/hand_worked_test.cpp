// SPDX-License-Identifier: Apache-2.0
// Layers, tables and draws by values worked out by hand.
#include "backends/hand_worked.h"

namespace lsd::testing {
namespace {

using ::testing::ElementsAre;

TEST_F(HandWorked, LinearIsXTimesWeightTransposedPlusBias) {
  HostTensor x({1, 2}, {1, 2}), weight({3, 2}, {1, 0, 0, 1, 3, -1}), bias({3}, {10, 20, 30}), y({1, 3});
  backend_->matrix().run(LinearForward{.x = x.view(), .weight = weight.view(), .bias = bias.view(), .y = y.view()});
  expect_values(y, {11, 22, 31});
}

TEST_F(HandWorked, LinearBackwardOverwritesInputsAndAccumulatesParameters) {
  HostTensor x({2, 1}, {2, 3}), weight({1, 1}, {5}), grad_y({2, 1}, {1, 10});
  HostTensor grad_x({2, 1}, {99, 99}), grad_weight({1, 1}, {100}), grad_bias({1}, {1000});
  backend_->matrix().run(
      LinearBackwardInput{.grad_y = grad_y.view(), .weight = weight.view(), .grad_x = grad_x.view()});
  backend_->matrix().run(LinearBackwardWeight{
      .grad_y = grad_y.view(), .x = x.view(), .grad_weight = grad_weight.view(), .grad_bias = grad_bias.view()});
  expect_values(grad_x, {5, 50});
  expect_values(grad_weight, {132});
  expect_values(grad_bias, {1011});
}

TEST_F(HandWorked, GeluAtOne) {
  HostTensor x({3}, {1, -1, 0}), y({3});
  backend_->pointwise().run(GeluForward{.x = x.view(), .y = y.view(), .gelu = Gelu::erf});
  expect_values(y, {0.84134475F, -0.15865525F, 0});  // x Phi(x)
  backend_->pointwise().run(GeluForward{.x = x.view(), .y = y.view(), .gelu = Gelu::tanh});
  expect_values(y, {0.84119199F, -0.15880801F, 0});
  backend_->pointwise().run(SiluForward{.x = x.view(), .y = y.view()});
  expect_values(y, {0.73105858F, -0.26894142F, 0});
}

TEST_F(HandWorked, NormOfThreeAndSeven) {
  HostTensor x({1, 2}, {1, 3}), delta({1, 2}, {2, 4}), gain({2}, {1, 10}), bias({2}, {0, 5}), sum({1, 2}), y({1, 2}),
      mean({1}), inv_std({1});
  backend_->norm().run(NormForward{.x = x.view(),
                                   .delta = delta.view(),
                                   .gain = gain.view(),
                                   .bias = bias.view(),
                                   .sum = sum.view(),
                                   .y = y.view(),
                                   .mean = mean.view(),
                                   .inv_std = inv_std.view(),
                                   .epsilon = 0.0F});
  expect_values(sum, {3, 7});
  expect_values(mean, {5});
  expect_values(inv_std, {0.5F});
  expect_values(y, {-1, 15});
}

TEST_F(HandWorked, AdaptiveNormReadsItsSequencesChunks) {
  const HostLayout layout({1}, 1);
  HostTensor x({2, 2}, {1, 3, 1, 3}), delta({2, 2}, {1, 1, 9, 9}), gates({1, 2}, {2, 4}),
      modulation({1, 4}, {7, 8, 1, 0});
  HostTensor sum({2, 2}), y({2, 2}), mean({2}), inv_std({2});
  backend_->norm().run(AdaptiveNormForward{.x = x.view(),
                                           .delta = delta.view(),
                                           .gate_modulation = gates.view(),
                                           .modulation = modulation.view(),
                                           .row_sequence = layout.view().row_sequence,
                                           .sum = sum.view(),
                                           .y = y.view(),
                                           .mean = mean.view(),
                                           .inv_std = inv_std.view(),
                                           .gate_chunk = 0,
                                           .shift_chunk = 0,
                                           .scale_chunk = 1,
                                           .epsilon = 0.0F});
  expect_values(sum, {3, 7, 1, 3});  // the dead row's gate is 0
  expect_values(y, {5, 9, -1, 1});   // (-1, 1) * (1 + (1, 0)) + (7, 8); dead: scale and shift 0
}

// Two rows, head width 2. Position 0 is not rotated; position 1 turns k by one radian.
TEST_F(HandWorked, AttentionOfTwoRows) {
  const HostLayout layout({2}, 1);
  HostTensor qkv({3, 6}, {1, 0, 0, 0, 10, 0,  //
                          0, 0, 1, 0, 20, 1,  //
                          7, 7, 7, 7, 7, 7});
  HostTensor out({3, 2}, {9, 9, 9, 9, 9, 9}), log_sum_exp({1, 3});
  backend_->attention().run(AttentionForward{
      .qkv = qkv.view(), .layout = layout.view(), .out = out.view(), .log_sum_exp = log_sum_exp.view()});
  const double score = std::cos(1.0) / std::sqrt(2.0);  // q_0 . rotate(k_1) / sqrt(h)
  const double p = std::exp(score) / (1.0 + std::exp(score));
  expect_values(out, {static_cast<float>(10 + 10 * p), static_cast<float>(p), 15, 0.5F, 0, 0}, 1e-5F);
  expect_values(log_sum_exp, {static_cast<float>(std::log(1.0 + std::exp(score))), std::log(2.0F), 0});
}

// 10000^(-2/4) = 0.01; the nearest float16 is 1311 * 2^-17. It turns row 100 by 0.0002 radians more.
TEST_F(HandWorked, RotaryFrequenciesRoundedToFloat16) {
  EXPECT_DOUBLE_EQ(Rotary{}.frequency(1, 4), 0.01);
  EXPECT_EQ((Rotary{.float16 = true}).frequency(1, 4), 1311.0 / 131072.0);
  EXPECT_EQ((Rotary{.float16 = true}).frequency(0, 4), 1.0);
}

TEST_F(HandWorked, TableLookUpsAndColumns) {
  std::vector<std::int32_t> tokens{1, 0, 1};
  const ConstTensorView token_view(tokens.data(), DType::int32, {3});
  HostTensor table({2, 2}, {1, 2, 3, 4}), scale({3}, {1, 2, 3}), y({3, 2}), grad_table({2, 2}, {100, 100, 100, 100});
  backend_->pointwise().run(
      EmbeddingForward{.tokens = token_view, .table = table.view(), .row_scale = scale.view(), .y = y.view()});
  expect_values(y, {3, 4, 2, 4, 9, 12});
  backend_->pointwise().run(EmbeddingBackward{
      .tokens = token_view, .grad_y = y.view(), .row_scale = scale.view(), .grad_table = grad_table.view()});
  expect_values(grad_table, {104, 108, 130, 140});
  HostTensor factor({2}, {10, 100}), shift({2}, {1, -1}), affine({2, 2});
  backend_->pointwise().run(
      ColumnAffine{.x = table.view(), .scale = factor.view(), .shift = shift.view(), .y = affine.view()});
  expect_values(affine, {11, 199, 31, 399});
}

TEST_F(HandWorked, LinearCombinationPerSequence) {
  const HostLayout layout({1, 1}, 1);
  HostTensor x({3, 1}, {1, 2, 3}), y({3, 1}, {10, 20, 30}), coefficients({2, 2}, {1, 2, -1, 0.5F}), out({3, 1});
  backend_->pointwise().run(LinearCombination{.x = x.view(),
                                              .y = y.view(),
                                              .coefficients = coefficients.view(),
                                              .row_sequence = layout.view().row_sequence,
                                              .out = out.view()});
  expect_values(out, {21, 8, 0});
}

TEST_F(HandWorked, SinusoidalFeaturesOfTwoTimes) {
  HostTensor time({2}, {0, 0.001F}), out({2, 4});
  backend_->pointwise().run(SinusoidalFeatures{.time = time.view(), .out = out.view()});
  const auto c = [](double a) { return static_cast<float>(std::cos(a)); };
  const auto s = [](double a) { return static_cast<float>(std::sin(a)); };
  expect_values(out, {1, 1, 0, 0, c(1.0), c(0.01), s(1.0), s(0.01)});
}

TEST_F(HandWorked, DrawsBelongToTheirCoordinates) {
  const HostLayout layout({2}, 1);
  std::vector<std::int64_t> visits{42};
  const ConstTensorView visit_view(visits.data(), DType::int64, {1});
  HostTensor uniform({3}), z({3, 4}), noised({3, 4}), velocity({3, 4}), time({3}, {1, 1, 1});
  const auto key = random_key(7, RandomStream::nm_noise);
  backend_->random().run(
      UniformPerRow{.layout = layout.view(), .sequence_visit = visit_view, .out = uniform.view(), .key = key});
  expect_values(uniform, {random_uniform(key, 0, 42), random_uniform(key, 1, 42), 0}, 0.0F);
  backend_->random().run(NoiseMix{.z = z.view(),
                                  .layout = layout.view(),
                                  .sequence_visit = visit_view,
                                  .row_time = time.view(),
                                  .noised = noised.view(),
                                  .velocity = velocity.view(),
                                  .key = key,
                                  .draw = 2});
  // t = 1: noised = eps. Row 1 holds elements 4 .. 7: one block, its pairs by Box-Muller.
  const auto words = random_words(key, 1, 42, 2);
  const float radius = std::sqrt(-2.0F * std::log(uniform_from_word(words.word[2])));
  const float turn = 6.2831853F * uniform_from_word(words.word[3]);
  EXPECT_NEAR(noised.data[6], radius * std::cos(turn), 1e-5F);
  EXPECT_NEAR(noised.data[7], radius * std::sin(turn), 1e-5F);
  EXPECT_THAT(std::vector<float>(velocity.data.begin() + 8, velocity.data.end()), ElementsAre(0, 0, 0, 0));
}

TEST_F(HandWorked, FillAndCast) {
  std::vector<std::int32_t> numbers(3);
  backend_->pointwise().run(Fill{.y = TensorView(numbers.data(), DType::int32, {3}), .value = -1.0F});
  EXPECT_THAT(numbers, ElementsAre(-1, -1, -1));
  std::vector<BFloat16> halves(2);
  HostTensor x({2}, {1.00390625F, 1.01171875F}), back({2});  // both ties: 1 + 1/256 to even, 1 + 3/256 to even
  const TensorView half_view(halves.data(), DType::bfloat16, {2});
  backend_->pointwise().run(Cast{.x = x.view(), .y = half_view});
  backend_->pointwise().run(Cast{.x = half_view, .y = back.view()});
  expect_values(back, {1.0F, 1.015625F}, 0.0F);
}

}  // namespace
}  // namespace lsd::testing
