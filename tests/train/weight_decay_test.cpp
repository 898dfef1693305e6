// SPDX-License-Identifier: Apache-2.0
// Which parameters decay: weights of products, and no bias, norm or embedding. Seen in what a step of the optimizer
// does, so that neither a flag nor its way there can be wrong.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <set>
#include <string>
#include <vector>

#include "lsd/backends/make_backend.h"
#include "lsd/models/build_model.h"
#include "lsd/train/optimizer_state.h"

namespace lsd::train {
namespace {

using Names = std::set<std::string>;

struct Groups {
  Names decaying, others;
};

TensorView view(std::vector<float>& values) {
  return {values.data(), DType::float32, Shape{static_cast<std::int64_t>(values.size())}};
}

// All parameters are 1 and all gradients 0, the rate is 0.5 and the decay 0.01: a step leaves 1 - 0.5 * 0.01 = 0.995 of
// what decays, and everything else as it is.
Groups groups_of(models::Model& model) {
  const auto backend = backends::make_reference_backend();
  auto& store = model.parameters();
  store.allocate(*backend, DType::float32, true);
  OptimizerState optimizer(*backend, store, {.weight_decay = 0.01});
  optimizer.initialise(std::vector<float>(static_cast<std::size_t>(store.elements()), 1.0F));
  std::vector<float> slots(StepScalars::kSlots), squared_norm(1);
  StepScalars scalars(view(slots));
  scalars.set(StepScalars::learning_rate, 0.5F);
  for (const auto slot : {StepScalars::bias_correction1, StepScalars::bias_correction2, StepScalars::gradient_scale,
                          StepScalars::clip_norm})
    scalars.set(slot, 1.0F);
  scalars.upload(*backend);
  optimizer.step(scalars.all(), view(squared_norm));

  Groups groups;
  const auto masters = optimizer.masters().span<float>();
  for (const auto& info : store.infos()) {
    const std::vector<float> values(masters.begin() + info.offset,
                                    masters.begin() + info.offset + info.shape.elements());
    const bool decays = values[0] != 1.0F;
    EXPECT_THAT(values, ::testing::Each(decays ? ::testing::FloatEq(0.995F) : ::testing::FloatEq(1.0F))) << info.name;
    (decays ? groups.decaying : groups.others).insert(info.name);
  }
  return groups;
}

Names joined(std::initializer_list<Names> parts) {
  Names all;
  for (const auto& part : parts) all.insert(part.begin(), part.end());
  return all;
}

// Of the first block of a stack; an adaptive one has no norms of its own.
Names block_weights(const std::string& stack) {
  return {stack + ".block.0.attention.qkv.weight", stack + ".block.0.attention.out.weight",
          stack + ".block.0.feed_forward.up.weight", stack + ".block.0.feed_forward.down.weight"};
}
Names block_biases(const std::string& stack) {
  return {stack + ".block.0.attention.qkv.bias", stack + ".block.0.attention.out.bias",
          stack + ".block.0.feed_forward.up.bias", stack + ".block.0.feed_forward.down.bias"};
}
Names norms(const std::string& stack) {
  return {stack + ".block.0.attention.norm.gain",
          stack + ".block.0.attention.norm.bias",
          stack + ".block.0.feed_forward.norm.gain",
          stack + ".block.0.feed_forward.norm.bias",
          stack + ".norm.gain",
          stack + ".norm.bias"};
}

models::AutoencoderConfig one_block(const std::string& variant) {
  return {.variant = variant, .width = 16, .heads = 2, .encoder_layers = 1, .decoder_layers = 1};
}

TEST(WeightDecay, OfLsdAutoencodersIsThatOfProductsAlone) {
  for (const std::string variant : {"nm", "tn"}) {
    SCOPED_TRACE(variant);
    const auto groups = groups_of(*models::build_autoencoder(one_block(variant)));
    EXPECT_EQ(groups.decaying,
              joined({block_weights("encoder"), block_weights("decoder"), {"latent.weight", "head.weight"}}));
    EXPECT_EQ(groups.others, joined({block_biases("encoder"),
                                     norms("encoder"),
                                     block_biases("decoder"),
                                     norms("decoder"),
                                     {"encoder.embedding.weight", "latent.bias", "head.bias"}}));
  }
}

// The embedding is the weight of the logits too, and stays an embedding.
TEST(WeightDecay, OfTheMaskedLanguageModelLeavesTheTiedEmbeddingOut) {
  const auto groups = groups_of(*models::build_autoencoder(one_block("mlm")));
  EXPECT_EQ(groups.decaying, joined({block_weights("encoder"), {"head.dense.weight"}}));
  EXPECT_EQ(groups.others, joined({block_biases("encoder"),
                                   norms("encoder"),
                                   {"encoder.embedding.weight", "head.dense.bias", "head.norm.gain", "head.norm.bias",
                                    "head.decoder.bias"}}));
}

// Times and modulations pass through maps, whose weights are those of products.
TEST(WeightDecay, OfTheDenoiserIsThatOfProductsAlone) {
  const models::DenoiserConfig config{.width = 16, .heads = 2, .layers = 1, .time_features = 8};
  const auto groups = groups_of(*models::build_denoiser(config, 24));
  EXPECT_EQ(groups.decaying,
            joined({block_weights("denoiser"),
                    {"denoiser.time.first.weight", "denoiser.time.second.weight", "denoiser.input.weight",
                     "denoiser.block.0.modulation.weight", "denoiser.modulation.weight", "denoiser.output.weight"}}));
  EXPECT_EQ(groups.others,
            joined({block_biases("denoiser"),
                    {"denoiser.time.first.bias", "denoiser.time.second.bias", "denoiser.input.bias",
                     "denoiser.block.0.modulation.bias", "denoiser.modulation.bias", "denoiser.output.bias"}}));
}

}  // namespace
}  // namespace lsd::train
