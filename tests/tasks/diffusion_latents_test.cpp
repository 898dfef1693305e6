// SPDX-License-Identifier: Apache-2.0
// What a whole diffusion training makes of its latents, its schedule and its average, against dumps and values worked
// out by hand. At learning rate 0 the denoiser goes on predicting 0, so that a loss is the mean square of its target.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>

#include "lsd/data/sample_order.h"
#include "lsd/io/embedding_reader.h"
#include "lsd/tasks/dump_latents.h"
#include "lsd/train/validation.h"
#include "support/diffusion_by_hand.h"
#include "support/metric_lines.h"
#include "support/temporary_folder.h"
#include "tasks/tiny_models.h"
#include "tasks/training_support.h"

namespace lsd::tasks {
namespace {

using testing::DrawnSequence;
using testing::kTinyWidth;
using testing::run_task;

constexpr std::uint32_t kSeed = 1;  // of the runs

// The latents of a split, standardised by hand.
class StandardLatents {
 public:
  StandardLatents(const std::filesystem::path& dump, train::LatentMoments moments)
      : reader_(dump), moments_(std::move(moments)) {
    for (std::int64_t record = 0; record < reader_.size(); ++record) {
      const auto bytes = reader_.rows(record, 0, reader_.tokens(record));
      auto& values = values_.emplace_back(bytes.size() / sizeof(float));
      std::memcpy(values.data(), bytes.data(), bytes.size());
    }
  }
  std::int64_t records() const { return reader_.size(); }
  std::int64_t residues(std::int64_t record) const { return reader_.tokens(record) - 2; }
  double at(std::int64_t record, std::int64_t position, std::int64_t column) const {
    const auto c = static_cast<std::size_t>(column);
    const double z = values_[static_cast<std::size_t>(record)][static_cast<std::size_t>(position * kTinyWidth) + c];
    return (z - moments_.mean[c]) / std::sqrt(static_cast<double>(moments_.variance[c]));
  }

 private:
  io::EmbeddingReader reader_;
  train::LatentMoments moments_;
  std::vector<std::vector<float>> values_;
};

class DiffusionLatents : public ::testing::Test {
 protected:
  void SetUp() override { testing::write_tiny_autoencoder(folder_ / "nm"); }

  TrainDiffusionConfig training(const std::string& run) const {
    auto config = testing::small_diffusion(folder_ / "nm", shards_, folder_ / run);
    config.training.steps = 1;
    config.training.log_every = 1;
    config.optimizer.warmup_steps = 0;
    config.optimizer.learning_rate = 0.0;
    config.sampling.importance = "none";
    config.validation.every_steps = 0;
    config.run.seed = kSeed;
    return config;
  }
  io::EmbeddingManifest dump(const std::string& split, const std::string& mode) const {
    DumpLatentsConfig config;
    config.features.autoencoder = (folder_ / "nm").string();
    config.features.capacity = 160;
    config.input.shards = shards_.string();
    config.input.split = split;
    config.output.directory = (folder_ / (split + mode)).string();
    config.output.element = "float32";
    config.output.mode = mode;
    EXPECT_EQ(run_task(dump_latents, config), Outcome::done);
    return io::read_embedding_manifest(config.output.directory);
  }
  StandardLatents latents(const std::string& split, const train::LatentMoments& moments) const {
    dump(split, "residues");
    return {folder_ / (split + "residues"), moments};
  }
  static train::LatentMoments moments_of_run(const TrainDiffusionConfig& config) {
    return train::read_latent_moments(io::open_checkpoint_at(config.run.directory), kTinyWidth);
  }

  testing::TemporaryFolder folder_;
  std::filesystem::path shards_ = testing::make_shards(folder_ / "data", 60, 30);
};

TEST_F(DiffusionLatents, MomentsOfTheWholeSplitAreThoseOfItsDump) {
  const auto expected = dump("train", "moments").moments;
  const auto variance = expected.variance();
  for (const int ranks : {1, 2}) {
    SCOPED_TRACE(ranks);
    auto config = training("run" + std::to_string(ranks));
    config.latents.moment_micro_batches = 0;
    ASSERT_EQ(run_task(train_diffusion, config, ranks), Outcome::done);
    const auto moments = moments_of_run(config);
    for (std::size_t c = 0; c < variance.size(); ++c) {
      EXPECT_NEAR(moments.mean[c], expected.mean[c], 1e-5 * std::sqrt(variance[c])) << c;
      EXPECT_NEAR(moments.variance[c], variance[c], 2e-5 * variance[c]) << c;
    }
  }
}

// A step's sequences are the visits before its cursor.
TEST_F(DiffusionLatents, TheLossOfAStepIsThatOfStandardisedLatentsUnderItsSchedule) {
  for (const std::string schedule : {"cosine", "linear_beta"}) {
    SCOPED_TRACE(schedule);
    auto config = training(schedule);
    config.model.schedule = schedule;
    ASSERT_EQ(run_task(train_diffusion, config), Outcome::done);
    const auto y = latents("train", moments_of_run(config));
    const auto end = io::open_checkpoint_at(config.run.directory).state.next_visit;
    ASSERT_GT(end, 2);
    ASSERT_LE(end, y.records()) << "of the first epoch";
    const data::SampleOrder order(y.records(), {.seed = kSeed});
    double loss = 0.0, residues = 0.0;
    for (std::int64_t visit = 0; visit < end; ++visit) {
      const auto record = order.order(0, visit);
      const DrawnSequence sequence{kSeed, visit, y.residues(record)};
      const double t = sequence.uniform(0);
      loss += testing::squared_target(
          sequence, kTinyWidth, schedule == "cosine" ? testing::cosine_mix(t) : testing::linear_beta_mix(t),
          [&](std::int64_t position, std::int64_t column) { return y.at(record, position, column); });
      residues += static_cast<double>(sequence.residues);
    }
    const auto lines = testing::metric_lines(config.run.directory);
    ASSERT_EQ(lines.size(), 1U);
    EXPECT_NEAR(lines[0]["loss"].get<double>(), loss / residues, 2e-5 * loss / residues);
  }
}

// In record order with visits that are records. At t = 1 the target is -y: its mean square needs no noise to know.
TEST_F(DiffusionLatents, ValidationLossesAreThoseOfStandardisedLatentsUnderTheSchedule) {
  auto config = training("run");
  config.model.schedule = "linear_beta";
  config.validation = {.every_steps = 1, .micro_batches = 16, .times = {0.5, 1.0}};
  ASSERT_EQ(run_task(train_diffusion, config), Outcome::done);
  const auto y = latents("valid", moments_of_run(config));
  ASSERT_GT(y.records(), 2);
  const auto loss_at = [&](const std::function<double(const DrawnSequence&)>& time) {
    double loss = 0.0, residues = 0.0;
    for (std::int64_t record = 0; record < y.records(); ++record) {
      const DrawnSequence sequence{train::validation_seed(kSeed), record, y.residues(record)};
      loss += testing::squared_target(
          sequence, kTinyWidth, testing::linear_beta_mix(time(sequence)),
          [&](std::int64_t position, std::int64_t column) { return y.at(record, position, column); });
      residues += static_cast<double>(sequence.residues);
    }
    return loss / residues;
  };
  const auto line = testing::metric_lines(config.run.directory).back();
  ASSERT_EQ(line["kind"], "validation");
  const double drawn = loss_at([](const DrawnSequence& sequence) { return sequence.uniform(0); });
  const double half = loss_at([](const DrawnSequence&) { return 0.5; });
  const double end = loss_at([](const DrawnSequence&) { return 1.0; });
  EXPECT_NEAR(line["loss"].get<double>(), drawn, 2e-5 * drawn);
  EXPECT_NEAR(line["loss@0.5"].get<double>(), half, 2e-5 * half);
  EXPECT_NEAR(line["loss@1"].get<double>(), end, 2e-5 * end);
}

// 0.26 limits the decays 2/11, 3/12, 4/13 and 5/14 of the first updates from the third on; 0.9999 none of them.
TEST_F(DiffusionLatents, CheckpointsHoldTheMovingAverageOfTheirMasters) {
  constexpr std::int64_t kSteps = 4;
  for (const double most : {0.9999, 0.26}) {
    SCOPED_TRACE(most);
    auto config = training("run" + std::to_string(most));
    config.training.steps = kSteps;
    config.optimizer.learning_rate = 5e-3;
    config.ema.decay = most;
    config.checkpoint = {.every_steps = 1, .every_minutes = 0, .keep_last = kSteps, .in_background = false};
    ASSERT_EQ(run_task(train_diffusion, config), Outcome::done);
    const auto model = models::build_denoiser(config.model, kTinyWidth);
    const auto& store = model->parameters();
    const auto first = store.initial_values(kSeed);
    std::vector<double> expected(first.begin(), first.end());
    for (std::int64_t n = 1; n <= kSteps; ++n) {
      const auto checkpoint =
          io::open_checkpoint(io::checkpoint_path(std::filesystem::path(config.run.directory) / "checkpoints", n));
      const auto masters = train::read_parameter_block(checkpoint.model(), store);
      const auto average = train::read_parameter_block(checkpoint.file(train::kEmaFile), store);
      const double decay = std::min(most, (1.0 + static_cast<double>(n)) / (10.0 + static_cast<double>(n)));
      double apart = 0.0;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        expected[i] = decay * expected[i] + (1.0 - decay) * masters[i];
        ASSERT_NEAR(average[i], expected[i], 1e-6) << "element " << i << " after " << n << " updates";
        apart = std::max(apart, std::abs(static_cast<double>(average[i]) - masters[i]));
      }
      EXPECT_GT(apart, 1e-4) << "masters and average differ";
    }
  }
}

}  // namespace
}  // namespace lsd::tasks
