// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/batch_loader.h"

#include <gmock/gmock.h>

#include <atomic>
#include <map>

#include "data/random_source.h"
#include "lsd/core/error.h"

namespace lsd::data {
namespace {

using testing::Each;
using testing::ElementsAre;

TEST(FillBatch, WritesEveryArrayOfASmallBatch) {
  // L X C and A, with specials, in 10 rows and 3 slots; the second sequence has visit 9.
  const auto source = make_memory_source({{4, 24, 23}, {5}});
  MicroBatchPlan plan{.rows = 8, .residues = 4};
  plan.sequences = {{.visit = 9, .record = 1, .residues = 1, .rows = 3},
                    {.visit = 12, .record = 0, .residues = 3, .rows = 5}};
  HostBatch batch(10, 3);
  std::fill(batch.block().begin(), batch.block().end(), std::byte{0xAB});
  fill_batch(*source, plan, {}, batch);

  EXPECT_THAT(batch.offsets(), ElementsAre(0, 3, 8, 8));
  EXPECT_THAT(batch.row_sequence(), ElementsAre(0, 0, 0, 1, 1, 1, 1, 1, -1, -1));
  EXPECT_THAT(batch.row_position(), ElementsAre(0, 1, 2, 0, 1, 2, 3, 4, 0, 0));
  EXPECT_THAT(batch.sequence_order(), ElementsAre(1, 0, 2));
  EXPECT_THAT(batch.tokens(), ElementsAre(0, 5, 2, 0, 4, 24, 23, 2, 1, 1));
  EXPECT_THAT(batch.targets(), ElementsAre(-1, 5, -1, -1, 4, -1, 23, -1, -1, -1));
  EXPECT_THAT(batch.row_scale(), Each(1.0F));
  EXPECT_THAT(batch.residue_mask(), ElementsAre(0, 1, 0, 0, 1, 1, 1, 0, 0, 0));
  EXPECT_THAT(batch.residue_group(), ElementsAre(-1, 0, -1, -1, 0, 0, 0, -1, -1, -1));
  EXPECT_THAT(batch.type_group(), ElementsAre(-1, 1, -1, -1, 0, -1, 19, -1, -1, -1));
  EXPECT_THAT(batch.sequence_visit(), ElementsAre(9, 12, 0));
  EXPECT_THAT(batch.sequence_time(), Each(0.0F));
  EXPECT_THAT(batch.sequence_weight(), Each(1.0F));
  EXPECT_EQ(batch.num_targets, 3);
}

TEST(FillBatch, CropsAndMasksByVisit) {
  const auto source = make_memory_source({{4, 5, 6, 7, 8, 9, 10, 11}});
  MicroBatchPlan plan{.rows = 5, .residues = 3};
  plan.sequences = {{.visit = 3, .record = 0, .first_residue = 2, .residues = 3, .rows = 5}};
  HostBatch batch(8, 1);
  fill_batch(*source, plan, {.masking = MaskingOptions{.probability = 1.0, .mask_share = 1.0}, .token_dropout = true},
             batch);
  EXPECT_THAT(batch.tokens(), ElementsAre(0, 32, 32, 32, 2, 1, 1, 1));
  EXPECT_THAT(batch.targets(), ElementsAre(-1, 6, 7, 8, -1, -1, -1, -1));
  EXPECT_FLOAT_EQ(batch.row_scale()[0], 0.88F / 0.4F);
  EXPECT_EQ(batch.row_scale()[1], 0.0F);
  EXPECT_EQ(batch.num_targets, 3);
}

TEST(FillBatch, AnEmptyPlanIsAllDeadRows) {
  const auto source = make_memory_source({{4}});
  HostBatch batch(4, 2);
  fill_batch(*source, {}, {}, batch);
  EXPECT_THAT(batch.offsets(), Each(0));
  EXPECT_THAT(batch.row_sequence(), Each(-1));
  EXPECT_THAT(batch.residue_mask(), Each(0));
  EXPECT_THAT(batch.sequence_order(), ElementsAre(0, 1));
}

TEST(HostBatchLayout, IsAlignedAndDisjoint) {
  const HostBatchLayout layout(1000, 7);
  const std::vector<std::size_t> fields{
      layout.offsets,        layout.row_sequence,  layout.row_position,    layout.sequence_order, layout.tokens,
      layout.targets,        layout.row_scale,     layout.residue_group,   layout.type_group,     layout.residue_mask,
      layout.sequence_visit, layout.sequence_time, layout.sequence_weight, layout.total_bytes};
  for (const auto field : fields) EXPECT_EQ(field % 256, 0U);
  EXPECT_TRUE(std::is_sorted(fields.begin(), fields.end()));
  EXPECT_EQ(layout.row_position - layout.row_sequence, 4096U);
}

BatchLoaderOptions options_of(int rank, int ranks) {
  BatchLoaderOptions options;
  options.order = {.seed = 3, .block_records = 8, .window_blocks = 4};
  options.packing = {.capacity = 128, .max_sequences = 8, .max_length = 50, .seed = 3};
  options.content = {.masking = MaskingOptions{}, .seed = 3};
  options.micro_batches = 5;
  options.rank = rank;
  options.ranks = ranks;
  return options;
}

// The blocks of global micro-batch k of each step, as bytes.
std::vector<std::vector<std::byte>> global_batches(int ranks, int steps) {
  const auto source = random_source(200, 1, 90);
  std::vector<std::vector<std::byte>> blocks(static_cast<std::size_t>(steps) * 5);
  for (int rank = 0; rank < ranks; ++rank) {
    BatchLoader loader(source, options_of(rank, ranks));
    for (std::size_t step = 0; step < static_cast<std::size_t>(steps); ++step) {
      auto batches = loader.next();
      const auto mine = micro_batches_of_rank(5, rank, ranks);
      for (std::size_t i = 0; i < mine.size(); ++i) {
        const auto block = batches->micro_batches[i].block();
        if (mine[i] >= 0)
          blocks[step * 5 + static_cast<std::size_t>(mine[i])].assign(block.begin(), block.end());
        else
          EXPECT_THAT(batches->micro_batches[i].row_sequence(), Each(-1));
      }
      loader.recycle(std::move(*batches));
    }
  }
  return blocks;
}

void clear_padding(const HostBatchLayout& layout, std::vector<std::byte>& block);

TEST(BatchLoader, GivesTheSameMicroBatchesToAnyNumberOfRanks) {
  const auto alone = global_batches(1, 12);
  for (const int ranks : {2, 3, 4, 7}) {
    const auto together = global_batches(ranks, 12);
    for (std::size_t k = 0; k < alone.size(); ++k) {
      auto a = alone[k], b = together[k];
      clear_padding(HostBatchLayout(128, 8), a);
      clear_padding(HostBatchLayout(128, 8), b);
      ASSERT_EQ(a, b) << ranks << " ranks, micro-batch " << k;
    }
  }
}

// Bytes between the arrays are never written.
void clear_padding(const HostBatchLayout& layout, std::vector<std::byte>& block) {
  const auto clear = [&](std::size_t from, std::size_t to) {
    std::fill(block.begin() + static_cast<std::ptrdiff_t>(from), block.begin() + static_cast<std::ptrdiff_t>(to),
              std::byte{0});
  };
  clear(layout.offsets + 9 * 4, layout.row_sequence);
  clear(layout.sequence_order + 8 * 4, layout.tokens);
  clear(layout.residue_mask + 128, layout.sequence_visit);
  clear(layout.sequence_visit + 8 * 8, layout.sequence_time);
  clear(layout.sequence_time + 8 * 4, layout.sequence_weight);
  clear(layout.sequence_weight + 8 * 4, layout.total_bytes);
}

TEST(BatchLoader, TellsTheGlobalBatchOnEveryRank) {
  const auto source = random_source(200, 1, 90);
  std::vector<std::int64_t> residues;
  std::int64_t sum = 0;
  for (int rank = 0; rank < 2; ++rank) {
    BatchLoader loader(source, options_of(rank, 2));
    const auto step = loader.next();
    residues.push_back(step->num_residues);
    for (const auto& batch : step->micro_batches) sum += batch.num_residues;
  }
  EXPECT_THAT(residues, Each(sum));
}

TEST(BatchLoader, GoesOnFromACursor) {
  const auto source = random_source(200, 1, 90);
  BatchLoader whole(source, options_of(0, 1));
  std::int64_t cursor = 0;
  for (int i = 0; i < 10; ++i) cursor = whole.next()->end_visit;
  auto options = options_of(0, 1);
  options.first_visit = cursor;
  BatchLoader resumed(source, options);
  for (int i = 0; i < 5; ++i) {
    const auto a = whole.next(), b = resumed.next();
    ASSERT_EQ(a->first_visit, b->first_visit);
    for (std::size_t k = 0; k < a->micro_batches.size(); ++k) {
      ASSERT_THAT(a->micro_batches[k].tokens(), testing::ElementsAreArray(b->micro_batches[k].tokens()));
      ASSERT_THAT(a->micro_batches[k].targets(), testing::ElementsAreArray(b->micro_batches[k].targets()));
    }
  }
}

TEST(BatchLoader, OnePassSeesEachRecordOnceInOrderAndEnds) {
  const auto source = random_source(203, 1, 40);
  BatchLoader loader(source, one_pass(*source, options_of(0, 1)));
  std::int64_t record = 0;
  while (auto step = loader.next()) {
    EXPECT_EQ(step->micro_batches.size(), 5U);
    for (const auto& batch : step->micro_batches)
      for (const auto& sequence : batch.sequences) ASSERT_EQ(sequence.record, record++);
  }
  EXPECT_EQ(record, 203);
  EXPECT_FALSE(loader.next().has_value());
}

TEST(BatchLoader, StopsAfterSoManySteps) {
  const auto source = random_source(203, 1, 40);
  BatchLoader loader(source, one_pass(*source, options_of(0, 1), 2));
  EXPECT_TRUE(loader.next() && loader.next());
  EXPECT_FALSE(loader.next().has_value());
}

TEST(BatchLoader, ForwardsErrorsOfItsThreadInTurn) {
  auto options = options_of(0, 1);
  int filled = 0;
  options.decorate = [&filled](HostBatch&) {
    if (++filled > 10) throw DataError("a latent file ends early");
  };
  BatchLoader loader(random_source(200, 1, 90), options);
  EXPECT_TRUE(loader.next() && loader.next());  // two whole steps came before the error
  EXPECT_THROW(loader.next(), DataError);
  EXPECT_THROW(loader.next(), DataError);
}

TEST(BatchLoader, ReadsAheadOnlySoFarAndStopsWhenDestroyed) {
  std::atomic<int> filled{0};
  auto options = options_of(0, 1);
  options.read_ahead_steps = 2;
  options.decorate = [&filled](HostBatch&) { ++filled; };
  {
    BatchLoader loader(random_source(200, 1, 90), options);
    loader.next();
  }
  EXPECT_LE(filled.load(), 4 * 5);  // one taken, two waiting, one in the making
}

TEST(BatchLoader, RefusesUnsuitableOptionsAtOnce) {
  auto options = options_of(0, 1);
  options.packing.max_length = 1000;
  EXPECT_THROW(BatchLoader(random_source(10, 1, 9), options), UserError);
}

TEST(MemorySource, HasAFingerprintOfItsContentAndChecksTokens) {
  EXPECT_EQ(random_source(20, 1, 9)->fingerprint(), random_source(20, 1, 9)->fingerprint());
  EXPECT_NE(random_source(20, 1, 9)->fingerprint(), random_source(20, 1, 9, 2)->fingerprint());
  EXPECT_NE(make_memory_source({{4, 5}, {6}})->fingerprint(), make_memory_source({{4}, {5, 6}})->fingerprint());
  EXPECT_THROW(make_memory_source({{4, 33}}), DataError);
}

}  // namespace
}  // namespace lsd::data
