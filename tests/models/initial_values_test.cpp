// SPDX-License-Identifier: Apache-2.0
// Initial weights of whole models against docs/maths: the deviation of every weight within five standard errors, biases
// 0, gains 1, and what must start at zero. Encoder and decoder have different depths here, and the denoiser reads
// latents and times of other widths than its own, so that a deviation taken from the wrong one shows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lsd/models/build_model.h"

namespace lsd::models {
namespace {

using ::testing::Each;

// Of the weights that start as normals, by name.
using Deviations = std::map<std::string, double>;

constexpr std::int64_t kWidth = 128;
const double kSmall = std::sqrt(2.0 / (5.0 * 128.0));

// Both sublayers of every block add to the stream.
void add_blocks(Deviations& deviations, const std::string& stack, int layers) {
  for (int layer = 0; layer < layers; ++layer) {
    const auto block = stack + ".block." + std::to_string(layer);
    deviations[block + ".attention.qkv.weight"] = deviations[block + ".feed_forward.up.weight"] = kSmall;
    deviations[block + ".attention.out.weight"] = deviations[block + ".feed_forward.down.weight"] =
        kSmall / std::sqrt(2.0 * layers);
  }
}

// Errors of the mean, the deviation and the fourth moment (3, with variance 105 - 9) of n standard normals.
void expect_normal(const std::vector<float>& values, double deviation) {
  double sum = 0.0, squares = 0.0, fourths = 0.0;
  for (const float value : values) {
    const double x = static_cast<double>(value) / deviation;
    sum += x;
    squares += x * x;
    fourths += x * x * x * x;
  }
  const auto n = static_cast<double>(values.size());
  EXPECT_NEAR(sum / n, 0.0, 5.0 / std::sqrt(n));
  EXPECT_NEAR(std::sqrt(squares / n), 1.0, 5.0 / std::sqrt(2.0 * n)) << "in units of " << deviation;
  EXPECT_NEAR(fourths / n, 3.0, 5.0 * std::sqrt(96.0 / n));
}

void expect_initial_values(Model& model, const Deviations& deviations, const std::set<std::string>& zeros = {}) {
  const auto& store = model.parameters();
  const auto block = store.initial_values(7);
  std::size_t normals = 0, weights_of_zeros = 0;
  for (const auto& info : store.infos()) {
    SCOPED_TRACE(info.name);
    const std::vector<float> values(block.begin() + info.offset, block.begin() + info.offset + info.shape.elements());
    if (info.name.ends_with(".bias")) {
      EXPECT_THAT(values, Each(0.0F));
    } else if (info.name.ends_with(".gain")) {
      EXPECT_THAT(values, Each(1.0F));
    } else if (zeros.contains(info.name)) {
      ++weights_of_zeros;
      EXPECT_THAT(values, Each(0.0F));
    } else {
      ++normals;
      ASSERT_TRUE(deviations.contains(info.name)) << "no such weight in the list of this test";
      expect_normal(values, deviations.at(info.name));
    }
  }
  EXPECT_EQ(normals, deviations.size());
  EXPECT_EQ(weights_of_zeros, zeros.size());
}

AutoencoderConfig wide_autoencoder(const std::string& variant) {
  return {.variant = variant, .width = kWidth, .heads = 4, .encoder_layers = 3, .decoder_layers = 2};
}

// The map to the latents keeps the unit variance of the norm that it reads.
TEST(InitialValues, OfLsdAutoencoders) {
  Deviations deviations = {
      {"encoder.embedding.weight", kSmall}, {"latent.weight", 1.0 / std::sqrt(128.0)}, {"head.weight", kSmall}};
  add_blocks(deviations, "encoder", 3);
  add_blocks(deviations, "decoder", 2);
  for (const std::string variant : {"nm", "tn"}) {
    SCOPED_TRACE(variant);
    expect_initial_values(*build_autoencoder(wide_autoencoder(variant)), deviations);
  }
}

TEST(InitialValues, OfTheMaskedLanguageModel) {
  Deviations deviations = {{"encoder.embedding.weight", kSmall}, {"head.dense.weight", kSmall}};
  add_blocks(deviations, "encoder", 3);
  expect_initial_values(*build_autoencoder(wide_autoencoder("mlm")), deviations);
}

// Modulations and the output map are zero: every block starts as the identity, the denoiser as the zero function.
TEST(InitialValues, OfTheDenoiser) {
  Deviations deviations = {{"denoiser.time.first.weight", std::sqrt(2.0 / (5.0 * 64.0))},
                           {"denoiser.time.second.weight", kSmall},
                           {"denoiser.input.weight", std::sqrt(2.0 / (5.0 * 96.0))}};
  add_blocks(deviations, "denoiser", 3);
  const DenoiserConfig config{.width = kWidth, .heads = 4, .layers = 3, .time_features = 64};
  expect_initial_values(*build_denoiser(config, 96), deviations,
                        {"denoiser.block.0.modulation.weight", "denoiser.block.1.modulation.weight",
                         "denoiser.block.2.modulation.weight", "denoiser.modulation.weight", "denoiser.output.weight"});
}

}  // namespace
}  // namespace lsd::models
