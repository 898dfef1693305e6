// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/sample_order.h"

#include <gmock/gmock.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "lsd/core/error.h"

namespace lsd::data {
namespace {

std::vector<std::int64_t> epoch_of(const SampleOrder& order, std::int64_t epoch) {
  std::vector<std::int64_t> records(static_cast<std::size_t>(order.size()));
  order.records_of(epoch * order.size(), records);
  return records;
}

TEST(SampleOrder, VisitsEachRecordOnceAnEpoch) {
  // Sizes around block and window borders: no full block, exact, one more, a short last window.
  for (const std::int64_t size : {1, 2, 3, 7, 8, 9, 31, 32, 33, 64, 65, 100, 1000, 12345}) {
    const SampleOrder order(size, {.seed = 5, .block_records = 8, .window_blocks = 4});
    for (std::int64_t epoch : {0, 1, 2, 1000000}) {
      auto records = epoch_of(order, epoch);
      std::sort(records.begin(), records.end());
      std::vector<std::int64_t> all(static_cast<std::size_t>(size));
      std::iota(all.begin(), all.end(), 0);
      ASSERT_EQ(records, all) << "size " << size << " epoch " << epoch;
    }
  }
}

TEST(SampleOrder, IsTheSameByPositionAndByRangeAcrossEpochs) {
  const SampleOrder order(1000, {.seed = 7, .block_records = 16, .window_blocks = 4});
  std::vector<std::int64_t> records(2500);
  order.records_of(700, records);
  for (std::int64_t i = 0; i < 2500; ++i)
    ASSERT_EQ(records[static_cast<std::size_t>(i)], order.order((700 + i) / 1000, (700 + i) % 1000)) << i;
}

TEST(SampleOrder, DependsOnSeedAndEpochOnly) {
  const SampleOrderOptions options{.seed = 1};
  const SampleOrder a(5000, options), b(5000, options), other_seed(5000, {.seed = 2});
  EXPECT_EQ(epoch_of(a, 3), epoch_of(b, 3));
  EXPECT_NE(epoch_of(a, 3), epoch_of(a, 4));
  EXPECT_NE(epoch_of(a, 3), epoch_of(other_seed, 3));
}

// The order is part of every result: these are the values of this version, for good.
TEST(SampleOrder, NeverChanges) {
  const SampleOrder order(100, {.seed = 42, .block_records = 8, .window_blocks = 4});
  std::vector<std::int64_t> records(8);
  order.records_of(0, records);
  EXPECT_THAT(records, testing::ElementsAre(59, 96, 83, 56, 60, 98, 86, 32));
}

TEST(SampleOrder, KeepsAWindowToAFewBlocks) {
  const SampleOrder order(1 << 14, {.seed = 3, .block_records = 64, .window_blocks = 8});
  const auto records = epoch_of(order, 0);
  for (std::size_t window = 0; window < records.size(); window += 512) {
    std::vector<bool> blocks(256, false);
    for (std::size_t i = window; i < window + 512; ++i) blocks[static_cast<std::size_t>(records[i] / 64)] = true;
    EXPECT_EQ(std::count(blocks.begin(), blocks.end(), true), 8);
  }
}

TEST(SampleOrder, LooksRandomWithinAWindow) {
  // Over many epochs, where a record lands is uniform, and neighbours do not stay neighbours.
  constexpr std::int64_t size = 50, epochs = 20000;
  const SampleOrder order(size, {.seed = 9});
  std::vector<double> counts(size, 0.0);
  std::int64_t neighbours = 0;
  for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
    const auto records = epoch_of(order, epoch);
    for (std::size_t i = 0; i < records.size(); ++i) {
      if (records[i] == 17) counts[i] += 1.0;
      if (i > 0 && records[i] == records[i - 1] + 1) ++neighbours;
    }
  }
  const double expected = static_cast<double>(epochs) / size;
  double chi_square = 0.0;
  for (const auto count : counts) chi_square += (count - expected) * (count - expected) / expected;
  EXPECT_LT(chi_square, 49 + 5 * std::sqrt(2 * 49.0));  // five deviations above the mean of 49 degrees of freedom
  // A random permutation has (n - 1) / n ascending neighbours on average, with variance about 1.
  EXPECT_NEAR(static_cast<double>(neighbours) / epochs, 49.0 / 50.0, 5.0 / std::sqrt(static_cast<double>(epochs)));
}

TEST(SampleOrder, UnshuffledIsRecordOrder) {
  const SampleOrder order(10, {.shuffle = false});
  EXPECT_THAT(epoch_of(order, 4), testing::ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9));
}

TEST(SampleOrder, RefusesPositionsOutsideTheEpoch) {
  const SampleOrder order(10, {});
  EXPECT_THROW(order.order(0, 10), InternalError);
  EXPECT_THROW(SampleOrder(10, {.block_records = 0}), UserError);
}

}  // namespace
}  // namespace lsd::data
