// SPDX-License-Identifier: Apache-2.0
// The denoiser's start (DiT): modulations are zero (initial_values_test.cpp), so that every block begins as the
// identity.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "model_run.h"

namespace lsd::models {
namespace {

using testing::ModelRun;
using testing::PackedBatch;

constexpr std::int64_t kLatent = 8, kWidth = 16, kLayers = 3, kRows = 44;

std::unique_ptr<Denoiser> build() {
  DenoiserConfig config;
  config.width = kWidth;
  config.heads = 2;
  config.layers = kLayers;
  config.time_features = 16;
  return build_denoiser(config, kLatent);
}

// With an output map that is not zero, the fresh model is W_out norm(W_in z), whatever the time and the neighbours.
TEST(DenoiserStart, AFreshModelIsItsInputAndOutputMapsAroundANorm) {
  const auto backend = backends::make_reference_backend();
  const auto model = build();
  ModelRun run(*model, *backend);
  initialise(*model, *backend, 3);
  auto block = model->parameters().compute_block().span<float>();
  const auto weights_of = [&](const char* name) {
    const auto* info = model->parameters().find(name);
    return block.subspan(static_cast<std::size_t>(info->offset), static_cast<std::size_t>(info->shape.elements()));
  };
  const auto input = weights_of("denoiser.input.weight"), output = weights_of("denoiser.output.weight");
  std::ranges::copy(testing::random_values(output.size(), 0.5F, 8), output.begin());

  PackedBatch packed(testing::sample_sequences(), kRows, 6);
  packed.latents = testing::random_values(kRows * kLatent, 1.0F, 9);
  packed.time = {0.1F, 0.45F, 0.8F, 0.97F, 0.0F, 0.0F};
  const auto batch = packed.batch();
  auto step = run.run().context();
  const ArenaScope scope(step.arena);
  const auto velocity = model->velocity(step, batch.layout, batch.latents, batch.sequence_time).span<float>();
  for (std::size_t row = 0; row < static_cast<std::size_t>(packed.used_rows()); ++row) {
    std::vector<double> hidden(kWidth, 0.0);
    double mean = 0.0, variance = 0.0;
    for (std::size_t i = 0; i < kWidth; ++i) {
      for (std::size_t c = 0; c < kLatent; ++c)
        hidden[i] += static_cast<double>(input[i * kLatent + c]) * packed.latents[row * kLatent + c];
      mean += hidden[i] / kWidth;
    }
    for (const double h : hidden) variance += (h - mean) * (h - mean) / kWidth;
    for (std::size_t c = 0; c < kLatent; ++c) {
      double expected = 0.0;
      for (std::size_t i = 0; i < kWidth; ++i)
        expected += output[c * kWidth + i] * (hidden[i] - mean) / std::sqrt(variance + 1e-5);
      ASSERT_NEAR(velocity[row * kLatent + c], expected, 1e-5 * (1.0 + std::abs(expected))) << row << ", " << c;
    }
  }
}

}  // namespace
}  // namespace lsd::models
