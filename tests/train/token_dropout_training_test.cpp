// SPDX-License-Identifier: Apache-2.0
// Token dropout in a whole training of the masked language model: embeddings of <mask> are 0, the others scaled by
// (1 - 0.15 x 0.8) / (1 - masked share of the sequence).

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "models/model_run.h"
#include "support/temporary_folder.h"
#include "train/tiny_job.h"

namespace lsd::train {
namespace {

using testing::PackedBatch;

// A batch as the trainer had it, with tokens already masked, and the scales by hand.
PackedBatch packed_again(const data::HostBatch& batch, bool scaled) {
  PackedBatch::Sequences residues;
  const auto tokens = batch.tokens();
  for (std::size_t slot = 0; slot < batch.sequences.size(); ++slot) {
    const auto begin = tokens.begin() + batch.offsets()[slot];
    residues.emplace_back(begin + 1, begin + batch.sequences[slot].rows - 1);
  }
  PackedBatch packed(residues, batch.layout().rows, batch.layout().max_sequences);
  std::ranges::copy(batch.targets(), packed.targets.begin());
  if (!scaled) return packed;
  packed.row_scale.assign(packed.tokens.size(), 1.0F);
  for (std::size_t slot = 0; slot < batch.sequences.size(); ++slot) {
    const auto begin = static_cast<std::size_t>(packed.offsets[slot]);
    const auto end = static_cast<std::size_t>(packed.offsets[slot + 1]);
    double masked = 0.0;
    for (auto row = begin; row < end; ++row) masked += packed.tokens[row] == data::kMask ? 1.0 : 0.0;
    const double scale = (1.0 - 0.15 * 0.8) / (1.0 - masked / static_cast<double>(end - begin));
    for (auto row = begin; row < end; ++row)
      packed.row_scale[row] = packed.tokens[row] == data::kMask ? 0.0F : static_cast<float>(scale);
  }
  return packed;
}

// The mean cross-entropy of the targets under the weights that a run of seed 1 begins with.
double loss_by_hand(const std::vector<PackedBatch>& batches) {
  const auto backend = backends::make_reference_backend();
  const auto model = models::build_autoencoder(testing::tiny_autoencoder("mlm"));
  testing::ModelRun run(*model, *backend);
  models::initialise(*model, *backend, 1);
  double sum = 0.0, targets = 0.0;
  for (const auto& packed : batches) {
    const auto batch = packed.batch();
    run.evaluate(batch);
    sum += run.metric("loss", batch) * static_cast<double>(batch.num_targets);
    targets += static_cast<double>(batch.num_targets);
  }
  return sum / targets;
}

// At learning rate 0, so that validation sees the first weights too.
TEST(TokenDropout, IsInEffectInTrainingAndValidation) {
  const testing::TemporaryFolder folder;
  std::vector<PackedBatch> scaled[2], plain[2];  // of training, of validation
  testing::TinyJob setup{.variant = "mlm", .steps = 1, .learning_rate = 0.0};
  setup.prepare = [&](const data::HostBatch& batch, bool validating) {
    scaled[validating ? 1 : 0].push_back(packed_again(batch, true));
    plain[validating ? 1 : 0].push_back(packed_again(batch, false));
  };
  setup.change = [](TrainingJob& job) {
    job.content.token_dropout = true;
    job.optimizer.warmup_steps = 0;
    job.training.log_every = 1;
    job.validation.times.clear();
  };
  ASSERT_TRUE(testing::run(setup, folder / "run"));
  const auto lines = testing::metric_lines(folder / "run");
  ASSERT_EQ(lines.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    SCOPED_TRACE(lines[i]["kind"].get<std::string>());
    ASSERT_EQ(lines[i]["kind"], i == 0 ? "train" : "validation");
    ASSERT_FALSE(scaled[i].empty());
    const double expected = loss_by_hand(scaled[i]);
    EXPECT_NEAR(lines[i]["loss"].get<double>(), expected, 1e-5 * expected);
    EXPECT_GT(std::abs(expected - loss_by_hand(plain[i])), 1e-4) << "scaled embeddings have another loss";
  }
}

}  // namespace
}  // namespace lsd::train
