// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/probe_head.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "lsd/core/error.h"
#include "lsd/core/philox.h"
#include "probe/head_step_internal.h"

namespace lsd::tasks {
namespace {

float draw(std::uint32_t element, std::uint64_t visit) {
  return 2.0F * random_uniform(random_key(99, RandomStream::probe), element, visit) - 1.0F;
}

DenseLayer random_layer(std::int64_t inputs, std::int64_t outputs, std::uint64_t visit) {
  DenseLayer layer{.inputs = inputs, .outputs = outputs};
  for (std::int64_t i = 0; i < inputs * outputs; ++i)
    layer.weight.push_back(draw(static_cast<std::uint32_t>(i), visit));
  for (std::int64_t i = 0; i < outputs; ++i) layer.bias.push_back(draw(static_cast<std::uint32_t>(i), visit + 100));
  return layer;
}

std::vector<float> random_features(std::int64_t count, std::uint64_t visit) {
  std::vector<float> x;
  for (std::int64_t i = 0; i < count; ++i) x.push_back(draw(static_cast<std::uint32_t>(i), visit));
  return x;
}

void expect_gradients_match(std::vector<DenseLayer> layers, const HeadTargets& targets, std::int64_t rows) {
  const auto x = random_features(rows * layers.front().inputs, 5);
  auto gradients = layers, scratch = layers;
  head_loss(layers, x, targets, gradients);
  constexpr float kStep = 1e-2F;
  const auto check_all = [&](std::vector<float>& values, const std::vector<float>& gradient) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float kept = values[i];
      values[i] = kept + kStep;
      const double above = head_loss(layers, x, targets, scratch);
      values[i] = kept - kStep;
      const double below = head_loss(layers, x, targets, scratch);
      values[i] = kept;
      EXPECT_NEAR(gradient[i], (above - below) / (2.0 * kStep), 2e-4 + 2e-3 * std::abs(gradient[i])) << "element " << i;
    }
  };
  for (std::size_t l = 0; l < layers.size(); ++l) {
    check_all(layers[l].weight, gradients[l].weight);
    check_all(layers[l].bias, gradients[l].bias);
  }
}

TEST(ProbeHead, GradientsMatchFiniteDifferences) {
  const HeadTargets classes = {.classes = {2, 0, 1, 2, 2}}, values = {.values = {0.5F, -1.0F, 0.25F, 2.0F}};
  expect_gradients_match({random_layer(4, 3, 1)}, classes, 5);
  expect_gradients_match({random_layer(4, 6, 1), random_layer(6, 3, 2)}, classes, 5);
  expect_gradients_match({random_layer(3, 1, 1)}, values, 4);
  expect_gradients_match({random_layer(3, 5, 1), random_layer(5, 1, 2)}, values, 4);
}

// One row x = (1, 2), W = [[1, 0], [0, 1]], b = 0: logits (1, 2); target 0: ln(e + e^2) - 1 = ln(1 + e).
TEST(ProbeHead, CrossEntropyByHand) {
  const DenseLayer layer = {.inputs = 2, .outputs = 2, .weight = {1, 0, 0, 1}, .bias = {0, 0}};
  std::vector<DenseLayer> gradients = {layer};
  const std::vector<float> x = {1, 2};
  EXPECT_NEAR(head_loss({layer}, x, {.classes = {0}}, gradients), std::log(1.0 + std::exp(1.0)), 1e-6);
  const double p1 = std::exp(1.0) / (1.0 + std::exp(1.0));
  EXPECT_THAT(gradients[0].bias, testing::ElementsAre(testing::FloatNear(-p1, 1e-6), testing::FloatNear(p1, 1e-6)));
}

LabelledRows make_rows(std::int64_t rows, std::uint64_t visit, data::TaskKind kind) {
  LabelledRows result{.features = {.rows = rows, .columns = 6, .values = random_features(rows * 6, visit)}};
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* x = result.features.values.data() + r * 6;
    // Exclusive or of two signs: no linear head can learn it. A regression label is linear, far from standardised.
    const bool odd = (x[0] > 0) != (x[1] > 0);
    result.labels.push_back(kind == data::TaskKind::regression ? 50.0 + 3.0 * x[0] - 2.0 * x[3] : odd ? 1.0 : 0.0);
  }
  for (auto r = 0; r < rows; ++r) result.features.values[static_cast<std::size_t>(r * 6 + 5)] = 4.0F;  // constant
  return result;
}

TEST(ProbeHead, MlpLearnsWhatALinearHeadCannot) {
  const auto kind = data::TaskKind::binary;
  const auto train = make_rows(800, 11, kind), valid = make_rows(200, 12, kind), test = make_rows(400, 13, kind);
  const HeadOptions mlp = {
      .kind = "mlp", .hidden = 32, .epochs = 60, .patience = 60, .batch = 32, .learning_rate = 1e-2};
  HeadOptions linear = mlp;
  linear.kind = "linear";
  const auto score = [&](const HeadOptions& options) {
    return primary_score(kind, 2, head_outputs(train_head(kind, 2, train, valid, options), test.features), test.labels);
  };
  EXPECT_GT(score(mlp), 0.93);
  EXPECT_LT(score(linear), 0.65);
}

TEST(ProbeHead, RegressionReturnsLabelUnits) {
  const auto kind = data::TaskKind::regression;
  const auto train = make_rows(500, 11, kind), valid = make_rows(100, 12, kind), test = make_rows(100, 13, kind);
  const auto head = train_head(kind, 0, train, valid,
                               {.kind = "linear", .epochs = 200, .patience = 200, .batch = 32, .learning_rate = 1e-2});
  const auto outputs = head_outputs(head, test.features);
  for (std::size_t i = 0; i < outputs.size(); ++i) EXPECT_NEAR(outputs[i], test.labels[i], 0.25);
  EXPECT_EQ(head.feature_scale[5], 0.0F);
  EXPECT_GT(primary_score(kind, 0, outputs, test.labels), 0.99);
}

TEST(ProbeHead, SameSeedSameBits) {
  const auto kind = data::TaskKind::binary;
  const auto train = make_rows(200, 11, kind), valid = make_rows(50, 12, kind);
  HeadOptions options = {.kind = "mlp", .hidden = 16, .epochs = 5, .seed = 3};
  const auto first = train_head(kind, 2, train, valid, options), again = train_head(kind, 2, train, valid, options);
  EXPECT_EQ(first.layers[0].weight, again.layers[0].weight);
  EXPECT_EQ(first.layers[1].weight, again.layers[1].weight);
  options.seed = 4;
  EXPECT_NE(first.layers[0].weight, train_head(kind, 2, train, valid, options).layers[0].weight);
}

TEST(ProbeHead, KeepsTheBestValidationEpoch) {
  const auto kind = data::TaskKind::binary;
  const auto train = make_rows(200, 11, kind), valid = make_rows(60, 12, kind);
  const HeadOptions options = {.kind = "mlp", .hidden = 16, .epochs = 30, .patience = 4, .learning_rate = 3e-2};
  const auto head = train_head(kind, 2, train, valid, options);
  EXPECT_EQ(primary_score(kind, 2, head_outputs(head, valid.features), valid.labels), head.best_valid_score);
  EXPECT_LE(head.best_epoch, head.epochs);
  EXPECT_LE(head.epochs - head.best_epoch, 4);
}

TEST(ProbeHead, RefusesUnknownHeadsAndNonFiniteFeatures) {
  const auto kind = data::TaskKind::binary;
  auto train = make_rows(20, 11, kind);
  const auto valid = make_rows(20, 12, kind);
  EXPECT_THROW(train_head(kind, 2, train, valid, {.kind = "forest"}), UserError);
  train.features.values[3] = NAN;
  EXPECT_THROW(train_head(kind, 2, train, valid, {.kind = "linear"}), DataError);
}

}  // namespace
}  // namespace lsd::tasks
