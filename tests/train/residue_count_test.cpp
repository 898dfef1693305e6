// SPDX-License-Identifier: Apache-2.0
// What the reconstruction loss is divided by. With an output map of zero every logit is 0, so each target has the
// cross-entropy ln 33 and losses are known by hand.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "train/small_trainer.h"

namespace lsd::train {
namespace {

using testing::SmallTrainer;

// X is a residue and counts in N, but is never a target: L = T ln 33 / N, and the gradient of the output map's bias is
// (T / 33 - targets of that letter) / N.
TEST(ResidueCount, UnknownResiduesCountInTheDivisorButAreNoTargets) {
  TrainerOptions options;
  options.seed = testing::kTinySeed;
  const testing::TinyRun run{.variant = "tn", .micro_batches = 2, .lambda = 0.0};
  SmallTrainer small({.build = testing::tiny_builder(run, 0), .options = options});
  auto weights = small.model->parameters().initial_values(9);
  const auto* head = small.model->parameters().find("head.weight");
  std::fill_n(weights.begin() + head->offset, head->shape.elements(), 0.0F);
  small.optimizer.initialise(weights);

  data::BatchLoader loader(testing::source_with_unknowns(), testing::tiny_loader(run, 0, 1));
  auto step = loader.next();
  double residues = 0.0, targets = 0.0;
  std::vector<double> of_letter(data::kVocabulary, 0.0);
  for (const auto& batch : step->micro_batches)
    for (const auto token : batch.tokens().first(static_cast<std::size_t>(batch.num_tokens))) {
      if (token < data::kFirstAminoAcid) continue;  // <cls>, <eos>
      residues += 1.0;
      if (token == data::kUnknownResidue) continue;
      targets += 1.0;
      of_letter[static_cast<std::size_t>(token)] += 1.0;
    }
  ASSERT_LT(targets, 0.85 * residues);

  const auto report = small.trainer.step(*step);
  const double entropy = std::log(33.0);
  EXPECT_NEAR(report.loss, targets * entropy / residues, 1e-5);
  EXPECT_NEAR(small.metric("loss_recon"), targets * entropy / residues, 1e-5);
  EXPECT_NEAR(small.metric("cross_entropy"), entropy, 1e-5) << "a mean over targets";
  const auto gradient = small.gradient("head.bias");
  for (std::size_t letter = 0; letter < of_letter.size(); ++letter)
    EXPECT_NEAR(gradient[letter], (targets / 33.0 - of_letter[letter]) / residues, 1e-6) << letter;
}

}  // namespace
}  // namespace lsd::train
