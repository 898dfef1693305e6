// SPDX-License-Identifier: Apache-2.0
// Ten AdamW steps of every model against a plain PyTorch script (make_training_golden.py): losses of each step,
// gradients of the first and the last.

#include <gtest/gtest.h>

#include "golden/golden_support.h"
#include "models/model_run.h"

namespace lsd::models {
namespace {

using nlohmann::json;
using testing::ModelRun;
using testing::PackedBatch;

constexpr std::int64_t kCapacity = 40, kMaxSequences = 4;

std::unique_ptr<Model> build(const json& golden) {
  if (golden["model"] == "denoiser") {
    DenoiserConfig config;
    config.width = golden["width"];
    config.heads = golden["heads"];
    config.layers = golden["layers"];
    config.time_features = golden["time_features"];
    config.gelu = golden["gelu"];
    return build_denoiser(config, golden["latent"]);
  }
  AutoencoderConfig config;
  config.variant = golden["model"];
  config.width = golden["width"];
  config.heads = golden["heads"];
  config.encoder_layers = config.decoder_layers = golden["layers"];
  config.gelu = golden["gelu"];
  config.norm = golden["norm"];
  config.lambda = golden["lambda"];
  config.min_count = golden["min_count"];
  config.shrinkage = golden["shrinkage"];
  config.variance_floor = golden["variance_floor"];
  return build_autoencoder(config);
}

PackedBatch pack(const json& golden, const json& batch, std::size_t index) {
  PackedBatch packed(batch["sequences"].get<PackedBatch::Sequences>(), kCapacity, kMaxSequences);
  const auto visits = batch["visits"].get<std::vector<std::int64_t>>();
  std::ranges::copy(visits, packed.visit.begin());
  if (batch.contains("masked")) {
    const auto clean = packed.targets;
    std::ranges::fill(packed.targets, -1);
    for (const auto& [row, replacement] : batch["masked"].get<std::vector<std::pair<std::size_t, std::int32_t>>>()) {
      packed.targets[row] = clean[row];
      packed.tokens[row] = replacement;
    }
  }
  if (batch.contains("times")) {
    std::ranges::copy(batch["times"].get<std::vector<float>>(), packed.time.begin());
    std::ranges::copy(batch["weights"].get<std::vector<float>>(), packed.weight.begin());
    const std::int64_t latent = golden["latent"];
    packed.latents =
        testing::golden_values("latents." + std::to_string(index), packed.used_rows() * latent, 0.0F, std::sqrt(3.0F));
    packed.latents.resize(static_cast<std::size_t>(kCapacity * latent), 0.0F);
  }
  return packed;
}

// One optimizer step's forward and backward passes as the trainer makes them. Gives the reported metrics.
std::vector<double> accumulate(ModelRun& run, const std::vector<PackedBatch>& micro_batches) {
  MetricCounts counts{.shares = 1};
  for (const auto& packed : micro_batches) {
    counts.residues += static_cast<double>(packed.batch().num_residues);
    counts.targets += static_cast<double>(packed.batch().num_targets);
  }
  const bool by_targets = run.model().loss_count() == LossCount::targets;
  run.run().scalars().set(StepScalars::gradient_scale, by_targets ? static_cast<float>(1.0 / counts.targets) : 1.0F);
  run.run().set_loss_scale(by_targets ? 1.0F : static_cast<float>(1.0 / counts.residues));
  run.zero_gradients();
  std::vector<double> sums(run.run().metrics.size(), 0.0);
  for (const auto& packed : micro_batches) {
    const auto batch = packed.batch();
    run.forward_backward(batch, static_cast<float>(static_cast<double>(batch.num_residues) / counts.residues));
    for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += run.run().metrics[i];
  }
  return metric_values(run.model().metrics(), sums, counts);
}

void expect_losses(const json& golden, const std::vector<MetricSpec>& specs, const std::vector<double>& values) {
  for (std::size_t i = 0; i < specs.size(); ++i)
    if (golden.contains(specs[i].name)) {
      const double expected = golden[specs[i].name];
      EXPECT_NEAR(values[i], expected, 1e-5 * std::abs(expected)) << specs[i].name;
    }
}

void expect_gradients(const json& golden, const nn::ParameterStore& store, double scale) {
  const auto block = store.grad_block().span<float>();
  ASSERT_EQ(golden.size(), store.infos().size());
  for (const auto& info : store.infos()) {
    SCOPED_TRACE(info.name);
    const auto& expected = golden.at(info.name);
    const double norm = expected["norm"];
    double squared = 0.0;
    for (std::int64_t i = 0; i < info.shape.elements(); ++i)
      squared += std::pow(scale * block[static_cast<std::size_t>(info.offset + i)], 2);
    EXPECT_NEAR(std::sqrt(squared), norm, 1e-4 * norm);
    for (std::size_t i = 0; i < expected["at"].size(); ++i) {
      const auto at = info.offset + expected["at"][i].get<std::int64_t>();
      EXPECT_NEAR(scale * block[static_cast<std::size_t>(at)], expected["values"][i].get<double>(), 1e-4 * norm);
    }
  }
}

struct Case {
  std::string golden, backend;
};
void PrintTo(const Case& each, std::ostream* out) {
  *out << each.golden << " on " << each.backend;
}

class TrainingTest : public ::testing::TestWithParam<Case> {};

TEST_P(TrainingTest, TenStepsFollowPyTorch) {
  const auto golden = testing::read_golden("training_" + GetParam().golden + ".json");
  const auto backend = backends::make_backend(GetParam().backend, {.threads = 1});
  const auto model = build(golden);
  ModelRun run(*model, *backend);
  run.run().seed = golden["seed"];
  testing::fill_golden_parameters(model->parameters());
  testing::SmallAdamW optimizer(run, *backend, golden["learning_rate"], golden["weight_decay"]);
  for (const auto& step : golden["steps"]) {
    std::vector<PackedBatch> micro_batches;
    for (const auto& batch : step["batches"]) micro_batches.push_back(pack(golden, batch, micro_batches.size()));
    const auto values = accumulate(run, micro_batches);
    expect_losses(step["losses"], model->metrics(), values);
    if (step.contains("gradients"))
      expect_gradients(step["gradients"], model->parameters(), run.run().scalars().get(StepScalars::gradient_scale));
    optimizer.step();
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string golden : {"nm", "tn", "nm_multivariate", "mlm", "denoiser"})
    for (const std::string backend : {"reference", "cpu"}) all.push_back({golden, backend});
  return all;
}
INSTANTIATE_TEST_SUITE_P(Models, TrainingTest, ::testing::ValuesIn(cases()),
                         [](const auto& each) { return each.param.golden + "_" + each.param.backend; });

}  // namespace
}  // namespace lsd::models
