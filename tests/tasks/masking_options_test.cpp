// SPDX-License-Identifier: Apache-2.0
// The masking section of a training's config reaches the batches.

#include <gtest/gtest.h>

#include "support/metric_lines.h"
#include "support/temporary_folder.h"
#include "tasks/training_support.h"

namespace lsd::tasks {
namespace {

// What it changes them to is held by tests/train/token_dropout_training_test.cpp.
TEST(MaskingOptions, TokenDropoutChangesTrainingAndValidation) {
  const testing::TemporaryFolder folder;
  const auto shards = testing::make_shards(folder / "data", 60, 30);
  const auto lines = [&](bool token_dropout) {
    auto config = testing::small_autoencoder("mlm", shards, folder / (token_dropout ? "with" : "without"));
    config.masking.token_dropout = token_dropout;
    config.training.steps = 1;
    config.training.log_every = 1;
    config.optimizer.warmup_steps = 0;
    config.optimizer.learning_rate = 0.0;
    EXPECT_EQ(testing::run_task(train_autoencoder, config), Outcome::done);
    return testing::metric_lines(config.run.directory);
  };
  const auto with = lines(true), without = lines(false);
  ASSERT_EQ(with.size(), 2U);  // one step, one validation
  ASSERT_EQ(without.size(), 2U);
  for (std::size_t i = 0; i < with.size(); ++i)
    EXPECT_NE(with[i]["loss"].get<double>(), without[i]["loss"].get<double>()) << with[i]["kind"];
}

}  // namespace
}  // namespace lsd::tasks
