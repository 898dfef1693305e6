// SPDX-License-Identifier: Apache-2.0
// A sharded optimizer (ZeRO-1): the same bits as a whole one at equal rank count, in any checkpoint, with less memory.
#include <gmock/gmock.h>

#include <numeric>

#include "lsd/core/error.h"
#include "support/temporary_folder.h"
#include "train/tiny_job.h"

namespace lsd::train {
namespace {

using testing::expect_same_end;
using testing::run;
using testing::TemporaryFolder;
using testing::TinyJob;
using testing::TinyRun;
using testing::train_tiny;

TEST(BlockLayout, CutsByHand) {
  const BlockLayout layout(64 * 11, 2, 1, 300);  // slices of 64 for 2 ranks: buckets of 256
  EXPECT_EQ(layout.buckets(), (std::vector<BlockSlice>{{0, 256}, {256, 256}, {512, 128}}));
  EXPECT_EQ(layout.rest(), (BlockSlice{640, 64}));
  EXPECT_EQ(layout.kept_by(0), (std::vector<BlockSlice>{{0, 128}, {256, 128}, {512, 64}, {640, 64}}));
  EXPECT_EQ(layout.kept_by(1), (std::vector<BlockSlice>{{128, 128}, {384, 128}, {576, 64}, {640, 64}}));
  EXPECT_EQ(layout.counted_by(1), (std::vector<BlockSlice>{{128, 128}, {384, 128}, {576, 64}}));
  EXPECT_EQ(elements_of(layout.counted_by(0)), 384);
}

TEST(BlockLayout, EveryElementIsKeptAndCountedOnce) {
  for (const std::int64_t blocks : {0, 1, 7, 64, 1001})
    for (const int ranks : {1, 2, 3, 4, 7}) {
      std::vector<int> counted(static_cast<std::size_t>(64 * blocks)), kept = counted;
      for (int rank = 0; rank < ranks; ++rank) {
        const BlockLayout layout(64 * blocks, ranks, rank, 1000);
        for (const auto& slice : layout.counted_by(rank))
          for (auto i = slice.begin; i < slice.end(); ++i) ++counted[static_cast<std::size_t>(i)];
        for (const auto& slice : layout.kept_by(rank)) {
          EXPECT_TRUE(slice.begin % 64 == 0 && slice.count % 64 == 0);
          for (auto i = slice.begin; i < slice.end(); ++i) ++kept[static_cast<std::size_t>(i)];
        }
      }
      EXPECT_THAT(counted, ::testing::Each(1));
      const BlockLayout layout(64 * blocks, ranks, 0, 1000);
      for (std::int64_t i = 0; i < 64 * blocks; ++i)
        ASSERT_EQ(kept[static_cast<std::size_t>(i)], i >= layout.rest().begin ? ranks : 1) << i;
    }
}

class Sharding : public ::testing::TestWithParam<std::tuple<std::string, int>> {};

INSTANTIATE_TEST_SUITE_P(VariantsAndRanks, Sharding,
                         ::testing::Combine(::testing::Values("nm", "tn", "mlm"), ::testing::Values(1, 2, 3, 4)));

TEST_P(Sharding, GivesTheSameBitsWithLessMemory) {
  const auto& [variant, ranks] = GetParam();
  for (const std::int64_t bucket : {700, 1 << 20}) {
    SCOPED_TRACE(bucket);
    TinyRun run{.variant = variant, .steps = 6, .bucket_elements = bucket};
    const auto whole = train_tiny(run, ranks);
    run.shard = true;
    const auto sharded = train_tiny(run, ranks);
    EXPECT_EQ(sharded[0].masters, whole[0].masters);
    for (std::size_t rank = 0; rank < sharded.size(); ++rank) {
      EXPECT_EQ(sharded[rank].weights, whole[0].weights) << rank;
      EXPECT_EQ(sharded[rank].metrics, whole[0].metrics);
      EXPECT_EQ(sharded[rank].gradient_norms, whole[0].gradient_norms);
      EXPECT_EQ(sharded[rank].buckets_started_early, sharded[rank].buckets) << "sums go on while backward runs";
      EXPECT_LE(sharded[rank].kept_elements, whole[0].kept_elements / ranks + 64 * ranks);
    }
  }
}

TinyJob sharded_job(bool shard, std::int64_t stop_after = 0, bool ema = false) {
  TinyJob setup{.stop_after = stop_after};
  setup.change = [=](TrainingJob& job) {
    job.compute.shard_optimizer = shard;
    job.ema = ema;
    job.packing.max_length = 32;
  };
  return setup;
}

// Checkpoints of every 4th step, validation with the moving average's weights in between.
TEST(ShardedRun, LeavesTheFilesOfAWholeOne) {
  for (const int ranks : {2, 3}) {
    const TemporaryFolder folder;
    EXPECT_TRUE(run(sharded_job(false, 0, true), folder / "whole", ranks));
    EXPECT_TRUE(run(sharded_job(true, 0, true), folder / "sharded", ranks));
    expect_same_end(folder / "whole", folder / "sharded");
  }
}

// With it, without it, and by turns.
TEST(ShardedRun, GoesOnAtAnyNumberOfRanks) {
  const TemporaryFolder folder;
  const std::pair<int, int> parts[] = {{2, 3}, {4, 6}, {3, 9}, {1, 0}};  // ranks, last step
  for (const auto* name : {"whole", "sharded", "turns"}) {
    bool shard = std::string(name) == "sharded";
    for (const auto& [ranks, last] : parts) {
      EXPECT_EQ(run(sharded_job(shard, last), folder / name, ranks), last == 0);
      if (std::string(name) == "turns") shard = !shard;
    }
  }
  expect_same_end(folder / "whole", folder / "sharded");
  expect_same_end(folder / "whole", folder / "turns");
}

// Half as many bytes of compute values as of masters: what travels between ranks are the rounded ones.
TEST(ShardedOptimizer, ExchangesRoundedComputeValues) {
  constexpr int kRanks = 3;
  auto communicators = dist::make_thread_communicators(kRanks);
  std::vector<std::vector<BFloat16>> compute(kRanks);
  std::vector<std::thread> threads;
  std::vector<float> values;
  for (int rank = 0; rank < kRanks; ++rank)
    threads.emplace_back([&, rank] {
      const auto backend = backends::make_reference_backend();
      auto& ranks = *communicators[static_cast<std::size_t>(rank)];
      const auto collectives = dist::make_staged_collectives(*backend, ranks.duplicate());
      const auto model = models::build_autoencoder(testing::tiny_autoencoder("nm"));
      auto& store = model->parameters();
      store.allocate(*backend, DType::bfloat16, true);
      const auto initial = store.initial_values(7);
      OptimizerState optimizer(*backend, store, {}, BlockLayout(store.elements(), kRanks, rank, 1000),
                               collectives.get());
      optimizer.initialise(initial);
      const auto span = store.compute_block().span<BFloat16>();
      compute[static_cast<std::size_t>(rank)].assign(span.begin(), span.end());
      if (rank == 0) values = initial;
    });
  for (auto& thread : threads) thread.join();
  for (const auto& of_rank : compute)
    for (std::size_t i = 0; i < values.size(); ++i) ASSERT_EQ(of_rank[i].bits, BFloat16(values[i]).bits) << i;
}

TEST(ShardedOptimizer, TheMemoryPlanShowsIt) {
  const auto backend = backends::make_reference_backend();
  const BatchShape shape{.capacity = 128, .max_sequences = 8, .max_length = 32};
  const auto build = testing::tiny_builder({}, 0);
  const auto whole = plan_memory(*backend, build, {.shape = shape, .ema = true});
  const auto sharded = plan_memory(*backend, build, {.shape = shape, .ema = true, .ranks = 4});
  EXPECT_LT(sharded.optimizer_bytes, whole.optimizer_bytes / 4 + 4 * 4 * 64 * 4 + 64);
  EXPECT_EQ(sharded.activation_bytes, whole.activation_bytes);
  EXPECT_EQ(sharded.gradient_bytes, whole.gradient_bytes);
}

}  // namespace
}  // namespace lsd::train
