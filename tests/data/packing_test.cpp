// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/packing.h"

#include <gmock/gmock.h>

#include <set>

#include "data/random_source.h"
#include "lsd/core/error.h"

namespace lsd::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::shared_ptr<const SequenceSource> source_of(std::vector<std::size_t> lengths) {
  std::vector<std::vector<std::uint8_t>> sequences;
  for (const auto length : lengths) sequences.emplace_back(length, kFirstAminoAcid);
  return make_memory_source(std::move(sequences));
}

std::vector<std::int64_t> visits_of(const MicroBatchPlan& plan) {
  std::vector<std::int64_t> visits;
  for (const auto& sequence : plan.sequences) visits.push_back(sequence.visit);
  return visits;
}

template <class Body>
std::string user_error_of(Body&& body) {
  try {
    body();
  } catch (const UserError& error) {
    return error.what();
  }
  return "no UserError";
}

TEST(Packing, IsNextFitInVisitOrder) {
  const auto source = source_of({3, 4, 2, 5, 1});  // rows with specials: 5 6 4 7 3
  const SampleOrder order(5, {.shuffle = false});
  Packer packer(*source, order, {.capacity = 11, .max_length = 0});
  const auto first = packer.next();
  EXPECT_THAT(visits_of(first), ElementsAre(0, 1));
  EXPECT_EQ(first.rows, 11);
  EXPECT_EQ(first.residues, 7);
  EXPECT_THAT(visits_of(packer.next()), ElementsAre(2, 3));
  // The last batch of an epoch runs on into the next.
  EXPECT_THAT(visits_of(packer.next()), ElementsAre(4, 5));
  EXPECT_EQ(packer.cursor(), 6);
  const auto fourth = packer.next();
  EXPECT_EQ(fourth.sequences[0].record, 1);
  EXPECT_EQ(fourth.first_visit, 6);
}

TEST(Packing, WithoutSpecialsCountsResiduesOnly) {
  const auto source = source_of({3, 4, 2});
  const SampleOrder order(3, {.shuffle = false});
  Packer packer(*source, order, {.capacity = 9, .max_length = 0, .specials = false});
  const auto plan = packer.next();
  EXPECT_THAT(visits_of(plan), ElementsAre(0, 1, 2));
  EXPECT_EQ(plan.rows, plan.residues);
}

TEST(Packing, HoldsAtMostSoManySequences) {
  const auto source = source_of({1, 1, 1, 1, 1});
  const SampleOrder order(5, {.shuffle = false});
  Packer packer(*source, order, {.capacity = 100, .max_sequences = 2, .max_length = 0});
  EXPECT_THAT(visits_of(packer.next()), ElementsAre(0, 1));
  EXPECT_THAT(visits_of(packer.next()), ElementsAre(2, 3));
}

TEST(Packing, GoesOnFromAnyCursorAsIfItHadNeverStopped) {
  const auto source = random_source(300, 1, 80);
  const SampleOrder order(300, {.seed = 4, .block_records = 8, .window_blocks = 4});
  const PackingOptions options{.capacity = 200, .max_length = 60, .seed = 4, .skipped_visits = {2, 3, 250, 310, 311}};
  Packer whole(*source, order, options);
  for (int step = 0; step < 60; ++step) {
    Packer resumed(*source, order, options, whole.cursor());
    const auto a = whole.next_global(3), b = resumed.next_global(3);
    ASSERT_EQ(a.end_visit, b.end_visit);
    for (std::size_t k = 0; k < 3; ++k) {
      ASSERT_EQ(visits_of(a.micro_batches[k]), visits_of(b.micro_batches[k]));
      for (std::size_t i = 0; i < a.micro_batches[k].sequences.size(); ++i)
        ASSERT_EQ(a.micro_batches[k].sequences[i].first_residue, b.micro_batches[k].sequences[i].first_residue);
    }
  }
  EXPECT_GT(whole.cursor(), 600);
}

TEST(Packing, PlacesEveryVisitOnceButTheSkipped) {
  const auto source = random_source(100, 1, 30);
  const SampleOrder order(100, {.seed = 1});
  const std::vector<std::int64_t> skipped{0, 5, 6, 7, 99, 100, 150};
  Packer packer(*source, order, {.capacity = 64, .max_length = 32, .skipped_visits = skipped});
  std::int64_t expected = 0;
  while (packer.cursor() < 250)
    for (const auto& sequence : packer.next().sequences) {
      while (std::binary_search(skipped.begin(), skipped.end(), expected)) ++expected;
      ASSERT_EQ(sequence.visit, expected);
      ASSERT_EQ(sequence.record, order.order(expected / 100, expected % 100));
      ++expected;
    }
}

TEST(Packing, EndsAtTheEndVisit) {
  const auto source = source_of({3, 3, 3});
  const SampleOrder order(3, {.shuffle = false});
  Packer packer(*source, order, {.capacity = 10, .max_length = 0, .end_visit = 3});
  const auto global = packer.next_global(3);
  EXPECT_TRUE(packer.at_end());
  EXPECT_THAT(visits_of(global.micro_batches[0]), ElementsAre(0, 1));
  EXPECT_THAT(visits_of(global.micro_batches[1]), ElementsAre(2));
  EXPECT_TRUE(global.micro_batches[2].sequences.empty());
  EXPECT_EQ(global.residues, 9);
}

TEST(Crops, ChangeWithTheVisitAndCoverTheSequence) {
  const PackingOptions options{.capacity = 100, .max_length = 12, .seed = 3};
  std::set<std::int32_t> starts;
  for (std::int64_t visit = 0; visit < 2000; ++visit) {
    const auto sequence = place(options, visit, 0, 30);
    EXPECT_EQ(sequence.residues, 10);
    EXPECT_EQ(sequence.rows, 12);
    starts.insert(sequence.first_residue);
  }
  EXPECT_EQ(*starts.begin(), 0);
  EXPECT_EQ(*starts.rbegin(), 20);
  EXPECT_EQ(starts.size(), 21U);
  EXPECT_EQ(place(options, 5, 0, 10).first_residue, 0);  // fits: not cropped
}

TEST(Packing, RefusesWhatCannotFit) {
  const auto source = source_of({3, 50});
  const SampleOrder order(2, {.shuffle = false});
  Packer packer(*source, order, {.capacity = 20, .max_length = 0});
  EXPECT_THAT(user_error_of([&] { packer.next(), packer.next(); }),
              HasSubstr("record 1 has 52 rows and a micro-batch holds 20"));
  EXPECT_THAT(user_error_of([&] { Packer(*source, order, {.capacity = 20, .max_length = 21}); }),
              HasSubstr("raise the capacity"));
  EXPECT_THAT(user_error_of([&] { Packer(*source, order, {.max_length = 2}); }), HasSubstr("no room for residues"));
  const auto empty = source_of({});
  const SampleOrder nothing(0, {});
  EXPECT_THROW(Packer(*empty, nothing, {}), DataError);
}

TEST(MicroBatches, AreDealtToRanksInEqualNumbers) {
  EXPECT_THAT(micro_batches_of_rank(4, 0, 2), ElementsAre(0, 2));
  EXPECT_THAT(micro_batches_of_rank(4, 1, 2), ElementsAre(1, 3));
  EXPECT_THAT(micro_batches_of_rank(3, 0, 2), ElementsAre(0, 2));
  EXPECT_THAT(micro_batches_of_rank(3, 1, 2), ElementsAre(1, -1));
  EXPECT_THAT(micro_batches_of_rank(1, 3, 4), ElementsAre(-1));
}

TEST(PlanInOrder, PacksARangeAndSetsLongRecordsApart) {
  const auto source = source_of({3, 4, 50, 2, 5, 1});
  const auto plans = plan_in_order(*source, 1, 6, {.capacity = 12});
  ASSERT_EQ(plans.size(), 4U);
  EXPECT_THAT(visits_of(plans[0]), ElementsAre(1));
  EXPECT_THAT(visits_of(plans[1]), ElementsAre(2));
  EXPECT_EQ(plans[1].rows, 52);                         // beyond the capacity, alone
  EXPECT_THAT(visits_of(plans[2]), ElementsAre(3, 4));  // 4 + 7 of 12 rows; 3 more do not fit
  EXPECT_THAT(visits_of(plans[3]), ElementsAre(5));
}

}  // namespace
}  // namespace lsd::data
