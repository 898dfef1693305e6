// SPDX-License-Identifier: Apache-2.0
// The same training over MPI ranks as alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "lsd/dist/host_communicator.h"
#include "train/tiny_training.h"

namespace lsd::train {
namespace {

TEST(TrainRanks, LossesOverMpiEqualThoseOfOneRank) {
  const auto ranks = dist::make_mpi_communicator();
  const auto alone_communicator = dist::make_single_communicator();
  for (const std::string variant : {"nm", "tn", "mlm"}) {
    testing::TinyRun run;
    run.variant = variant;
    run.steps = 12;
    run.learning_rate = 1e-3;
    run.bucket_elements = 2048;
    const auto alone = testing::train_tiny_rank(run, *alone_communicator);
    const auto together = testing::train_tiny_rank(run, *ranks);
    for (std::size_t step = 0; step < alone.metrics.size(); ++step)
      for (std::size_t i = 0; i < alone.metrics[step].size(); ++i) {
        const auto& [name, expected] = alone.metrics[step][i];
        if (name == "accuracy") continue;  // an argmax may tip
        ASSERT_NEAR(together.metrics[step][i].second, expected, 1e-5 * std::abs(expected) + 1e-9)
            << variant << ' ' << name << " of step " << step + 1;
      }
    const auto bytes = std::as_bytes(std::span<const float>(together.weights));
    for (const auto& other : ranks->all_gather(bytes))
      EXPECT_TRUE(std::ranges::equal(other, bytes)) << "weights of ranks stay equal";
  }
}

TEST(TrainRanks, AShardedOptimizerGivesTheSameBitsOverMpi) {
  const auto ranks = dist::make_mpi_communicator();
  for (const std::string variant : {"nm", "mlm"}) {
    testing::TinyRun run;
    run.variant = variant;
    run.steps = 6;
    const auto whole = testing::train_tiny_rank(run, *ranks);
    run.shard = true;
    const auto sharded = testing::train_tiny_rank(run, *ranks);
    EXPECT_EQ(sharded.weights, whole.weights);
    EXPECT_EQ(sharded.masters, whole.masters);
    EXPECT_EQ(sharded.gradient_norms, whole.gradient_norms);
    EXPECT_EQ(sharded.metrics, whole.metrics);
  }
}

// With one micro-batch, some ranks have nothing to evaluate; with three, some have less than others.
TEST(TrainRanks, ValidationDoesNotDependOnTheRanksNorWaitForThem) {
  const auto ranks = dist::make_mpi_communicator();
  const auto alone_communicator = dist::make_single_communicator();
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"nm", "global"}, {"tn", "global"}, {"nm", "micro_batch"}};
  for (const auto& [variant, moments] : cases)
    for (const std::int64_t micro_batches : {1, 3}) {
      testing::TinyRun run;
      run.variant = variant;
      run.moments = moments;
      run.steps = 0;
      run.validation_micro_batches = micro_batches;
      run.micro_batches = ranks->size();
      const auto together = testing::train_tiny_rank(run, *ranks);
      run.micro_batches = 1;
      const auto alone = testing::train_tiny_rank(run, *alone_communicator);
      ASSERT_EQ(together.validation.size(), alone.validation.size());
      for (std::size_t i = 0; i < alone.validation.size(); ++i) {
        const auto& [name, expected] = alone.validation[i];
        EXPECT_NEAR(together.validation[i].second, expected, 1e-6 * std::abs(expected))
            << variant << ", moments " << moments << ", " << micro_batches << " micro-batches: " << name;
      }
    }
}

}  // namespace
}  // namespace lsd::train

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const lsd::dist::MpiSession session(argc, argv);
  return RUN_ALL_TESTS();
}
