// SPDX-License-Identifier: Apache-2.0
// A model that cannot learn one batch by heart has a wrong gradient or a wrong update somewhere.

#include <gtest/gtest.h>

#include "model_run.h"

namespace lsd::models {
namespace {

using testing::ModelRun;
using testing::PackedBatch;

PackedBatch random_proteins(std::uint32_t seed) {
  std::mt19937 generator(seed);
  PackedBatch::Sequences sequences;
  for (const int length : {23, 17, 12})
    for (auto& token : sequences.emplace_back(static_cast<std::size_t>(length)))
      token = static_cast<std::int32_t>(4 + generator() % 20);
  return PackedBatch(sequences, 60, 4);
}

class OverfitTest : public ::testing::TestWithParam<std::string> {};

TEST_P(OverfitTest, OneBatchIsReconstructed) {
  const auto backend = backends::make_cpu_backend({.threads = 1});
  auto config = testing::small_autoencoder(GetParam());
  config.width = 32;
  const auto model = build_autoencoder(config);
  ModelRun run(*model, *backend);
  initialise(*model, *backend, 1);
  auto packed = random_proteins(2);
  if (GetParam() == "mlm")  // every fourth residue masked
    for (std::size_t r = 0; r < packed.tokens.size(); ++r) {
      if (packed.targets[r] >= 0 && r % 4 == 0)
        packed.tokens[r] = 32;
      else
        packed.targets[r] = -1;
    }
  const auto batch = packed.batch();
  testing::SmallAdamW optimizer(run, *backend, 5e-3F);
  run.run().set_loss_scale(1.0F / static_cast<float>(GetParam() == "mlm" ? batch.num_targets : batch.num_residues));
  for (int step = 0; step < 250; ++step) {
    for (auto& visit : packed.visit) visit += 100;  // each pass over a sequence is a visit of its own: fresh noise
    run.zero_gradients();
    run.forward_backward(batch);
    optimizer.step();
  }
  run.evaluate(batch, 0.0F);
  EXPECT_GT(run.metric("accuracy", batch), 0.99);
  if (GetParam() == "mlm") return;
  EXPECT_LT(run.metric("loss_norm", batch), GetParam() == "nm" ? 0.1 : 1.0);
}
INSTANTIATE_TEST_SUITE_P(Variants, OverfitTest, ::testing::Values("nm", "tn", "mlm"),
                         [](const auto& each) { return each.param; });

}  // namespace
}  // namespace lsd::models
