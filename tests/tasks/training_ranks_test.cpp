// SPDX-License-Identifier: Apache-2.0
// The promise of the numerics over rank counts, for whole training tasks on the backends that people use: losses agree
// to 1e-5 relative, also when a run goes on with another number of ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "support/metric_lines.h"
#include "support/temporary_folder.h"
#include "tasks/training_support.h"

namespace lsd::tasks {
namespace {

using testing::run_task;
using testing::small_autoencoder;
using testing::small_diffusion;
using testing::TemporaryFolder;

struct Line {
  std::string kind;
  std::int64_t step = 0;
  double loss = 0.0;
};

std::vector<Line> losses(const std::filesystem::path& folder) {
  std::vector<Line> lines;
  for (const auto& line : testing::metric_lines(folder)) lines.push_back({line["kind"], line["step"], line["loss"]});
  return lines;
}

void expect_same_losses(const std::filesystem::path& a, const std::filesystem::path& b) {
  const auto expected = losses(a), found = losses(b);
  ASSERT_EQ(found.size(), expected.size());
  ASSERT_GE(found.size(), 5U);  // steps 2, 4, 6 and validation at 3 and 6
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].kind, expected[i].kind);
    EXPECT_EQ(found[i].step, expected[i].step);
    EXPECT_NEAR(found[i].loss, expected[i].loss, 1e-5 * std::abs(expected[i].loss)) << expected[i].kind << ' ' << i;
  }
}

class TrainingRanks : public ::testing::TestWithParam<std::string> {
 protected:
  template <class Task, class Config>
  void expect_rank_independence(Task task, Config config, const std::string& name) {
    config.training.micro_batches = 4;
    const auto run = [&](const std::string& folder, int ranks, std::int64_t stop_after, Outcome outcome) {
      config.run.directory = (folder_ / (name + folder)).string();
      config.run.stop_after = stop_after;
      EXPECT_EQ(run_task(task, config, ranks, GetParam()), outcome);
    };
    run("1", 1, 0, Outcome::done);
    for (const int ranks : {2, 4}) {
      SCOPED_TRACE(ranks);
      run(std::to_string(ranks), ranks, 0, Outcome::done);
      expect_same_losses(folder_ / (name + "1"), folder_ / (name + std::to_string(ranks)));
    }
    run("elastic", 2, 2, Outcome::stopped);
    run("elastic", 4, 5, Outcome::stopped);
    run("elastic", 1, 0, Outcome::done);
    expect_same_losses(folder_ / (name + "1"), folder_ / (name + "elastic"));
  }
  TemporaryFolder folder_;
  std::filesystem::path shards_ = testing::make_shards(folder_ / "data", 60, 30);
};

TEST_P(TrainingRanks, LossesOfAutoencodersDoNotDependOnThem) {
  for (const std::string variant : {"nm", "tn", "mlm"}) {
    SCOPED_TRACE(variant);
    expect_rank_independence(train_autoencoder, small_autoencoder(variant, shards_, {}), variant);
  }
}

TEST_P(TrainingRanks, LossesOfDiffusionModelsDoNotDependOnThem) {
  const auto encoder = folder_ / "encoder";
  EXPECT_EQ(run_task(train_autoencoder, small_autoencoder("nm", shards_, encoder), 1, GetParam()), Outcome::done);
  expect_rank_independence(train_diffusion, small_diffusion(encoder, shards_, {}), "diffusion");
}

INSTANTIATE_TEST_SUITE_P(Backends, TrainingRanks, ::testing::Values("reference", "cpu"));

}  // namespace
}  // namespace lsd::tasks
