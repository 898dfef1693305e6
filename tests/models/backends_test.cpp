// SPDX-License-Identifier: Apache-2.0
// A training step of every model on the fast backend and on the reference, at lengths around the tiles of fast kernels.

#include <gtest/gtest.h>

#include "model_run.h"

namespace lsd::models {
namespace {

using testing::ModelRun;
using testing::PackedBatch;

PackedBatch tiles_batch() {
  std::mt19937 generator(3);
  PackedBatch::Sequences sequences;
  for (const int length : {62, 63, 30, 5, 0, 1})
    for (auto& token : sequences.emplace_back(static_cast<std::size_t>(length)))
      token = static_cast<std::int32_t>(4 + generator() % 21);
  return PackedBatch(sequences, 190, 8);
}

class BackendsTest : public ::testing::TestWithParam<DType> {
 protected:
  struct Result {
    std::vector<float> metrics, gradients;
  };
  Result run_step(Model& model, Backend& backend, const Batch& batch) {
    ModelRun run(model, backend, GetParam());
    testing::randomise(model.parameters(), 0.2F, 4);
    run.forward_backward(batch);
    return {run.run().metrics, run.gradients()};
  }
  // build() makes the same model anew for each backend.
  template <class Build>
  void expect_equal_steps(Build&& build, const Batch& batch) {
    const auto reference = backends::make_reference_backend(), fast = backends::make_cpu_backend({.threads = 2});
    const auto expected = run_step(*build(), *reference, batch), actual = run_step(*build(), *fast, batch);
    const bool exact = GetParam() == DType::float32;
    for (std::size_t i = 0; i < expected.metrics.size(); ++i)
      EXPECT_NEAR(actual.metrics[i], expected.metrics[i], (exact ? 1e-5 : 2e-2) * (1 + expected.metrics[i])) << i;
    double difference = 0.0, size = 0.0;
    for (std::size_t i = 0; i < expected.gradients.size(); ++i) {
      difference += std::pow(actual.gradients[i] - expected.gradients[i], 2);
      size += std::pow(expected.gradients[i], 2);
    }
    EXPECT_LT(std::sqrt(difference / size), exact ? 1e-5 : 3e-2);
  }
};

TEST_P(BackendsTest, AutoencodersTakeTheSameStep) {
  const auto packed = tiles_batch();
  for (const std::string variant : {"nm", "tn", "mlm"}) {
    SCOPED_TRACE(variant);
    auto config = testing::small_autoencoder(variant);
    config.width = 48;  // heads of 24: no power of two
    config.gelu = "tanh";
    expect_equal_steps([&] { return build_autoencoder(config); }, packed.batch());
  }
}

TEST_P(BackendsTest, TheDenoiserTakesTheSameStep) {
  auto packed = tiles_batch();
  packed.time = {0.0F, 0.2F, 0.5F, 0.9F, 1.0F, 0.3F, 0.0F, 0.0F};
  auto batch = packed.batch();
  const auto wide = testing::random_values(190 * 24, 1.0F, 9);
  std::vector<BFloat16> narrow(wide.begin(), wide.end());
  batch.latents = GetParam() == DType::float32 ? ConstTensorView(wide.data(), DType::float32, Shape{190, 24})
                                               : ConstTensorView(narrow.data(), DType::bfloat16, Shape{190, 24});
  DenoiserConfig config;
  config.width = 48;
  config.heads = 2;
  config.layers = 2;
  config.time_features = 32;
  expect_equal_steps([&] { return build_denoiser(config, 24); }, batch);
}
INSTANTIATE_TEST_SUITE_P(Types, BackendsTest, ::testing::Values(DType::float32, DType::bfloat16),
                         [](const auto& each) { return std::string(name_of(each.param)); });

}  // namespace
}  // namespace lsd::models
