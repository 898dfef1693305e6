// SPDX-License-Identifier: Apache-2.0
// The MLM encoder and head against Hugging Face's ESM-2, for several head widths (make_esm2_golden.py).

#include <gtest/gtest.h>

#include "golden/golden_support.h"
#include "models/model_run.h"

namespace lsd::models {
namespace {

class Esm2Test : public ::testing::TestWithParam<int> {
 protected:
  // Largest difference over the values' own largest magnitude.
  static double relative_difference(std::span<const float> ours, const nlohmann::json& theirs) {
    double difference = 0.0, scale = 0.0;
    for (std::size_t i = 0; i < theirs.size(); ++i) {
      difference = std::max(difference, std::abs(ours[i] - theirs[i].get<double>()));
      scale = std::max(scale, std::abs(theirs[i].get<double>()));
    }
    return difference / scale;
  }
};

TEST_P(Esm2Test, HiddenStatesAndLogitsEqualHuggingFaces) {
  const auto golden = testing::read_golden("esm2_" + std::to_string(GetParam()) + ".json");
  AutoencoderConfig config;
  config.variant = "mlm";
  config.width = golden["width"];
  config.heads = golden["heads"];
  config.encoder_layers = golden["layers"];
  config.gelu = "erf";
  const auto model = build_autoencoder(config);

  testing::PackedBatch::Sequences sequences;
  for (const auto& tokens : golden["sequences"]) {  // <cls> and <eos> are added by PackedBatch
    const auto all = tokens.get<std::vector<std::int32_t>>();
    sequences.emplace_back(all.begin() + 1, all.end() - 1);
  }
  testing::PackedBatch packed(sequences, 40, 5);
  if (golden.contains("row_scale")) {
    packed.row_scale = golden["row_scale"].get<std::vector<float>>();
    packed.row_scale.resize(40, 1.0F);
  }
  for (const std::string name : {"reference", "cpu"}) {
    SCOPED_TRACE(name);
    const auto backend = backends::make_backend(name, {.threads = 1});
    model->parameters().allocate(*backend, DType::float32, false);
    testing::fill_golden_parameters(model->parameters());
    testing::ModelStep run(*backend);
    auto step = run.context();
    const auto z = model->encode(step, packed.batch());
    const auto logits = model->decode(step, packed.batch(), z);
    ASSERT_EQ(golden["hidden"].size(), static_cast<std::size_t>(packed.used_rows() * config.width));
    EXPECT_LT(relative_difference(z.span<float>(), golden["hidden"]), 2e-6);
    EXPECT_LT(relative_difference(logits.span<float>(), golden["logits"]), 2e-6);
  }
}
INSTANTIATE_TEST_SUITE_P(HeadWidths, Esm2Test, ::testing::Values(16, 24, 32, 64));

}  // namespace
}  // namespace lsd::models
