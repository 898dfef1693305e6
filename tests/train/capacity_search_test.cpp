// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/capacity_search.h"

#include <gmock/gmock.h>

#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "train/tiny_job.h"

namespace lsd::train {
namespace {

using testing::expect_error;
using testing::run;
using testing::TemporaryFolder;
using testing::TinyJob;

TEST(LargestCapacity, FitsAndTheNextDoesNot) {
  const auto bytes_of = [](std::int64_t tokens) { return static_cast<std::size_t>(1000 + 10 * tokens); };
  for (const std::int64_t largest : {64, 128, 192, 6400, 65536, 16777216}) {
    for (const std::size_t spare : {0, 639}) {
      const auto found = largest_capacity(bytes_of(largest) + spare, 64, bytes_of);
      EXPECT_EQ(found.capacity, largest);
      EXPECT_EQ(found.bytes, bytes_of(largest));
      EXPECT_EQ(found.bytes_of_the_next.has_value(), largest < kLargestCapacity);
      if (found.bytes_of_the_next) {
        EXPECT_EQ(*found.bytes_of_the_next, bytes_of(largest + kCapacityStep));
      }
    }
  }
}

TEST(LargestCapacity, SaysWhatTheLeastWouldTake) {
  const auto found = largest_capacity(1639, 64, [](std::int64_t tokens) { return std::size_t(1000 + 10 * tokens); });
  EXPECT_EQ(found.capacity, 0);
  EXPECT_EQ(found.bytes, 1640U);
}

TEST(LargestCapacity, StopsAtTheLargestAllowed) {
  const auto found = largest_capacity(1, 128, [](std::int64_t) { return std::size_t{1}; });
  EXPECT_EQ(found.capacity, kLargestCapacity);
  EXPECT_FALSE(found.bytes_of_the_next);
}

// The job of a rank, as its run sees it.
void with_job(const std::string& limit, const std::function<void(TrainingJob&)>& body) {
  const TemporaryFolder folder;
  TinyJob setup;
  setup.change = [&](TrainingJob& job) {
    job.run.memory_limit = limit;
    body(job);
    job.run.memory_plan = true;  // and no more
  };
  EXPECT_TRUE(run(setup, folder / "run"));
}

TEST(LargestCapacity, OfARealModelIsExact) {
  for (const auto* text : {"2MiB", "3000000", "1GiB"})
    with_job(text, [&](TrainingJob& job) {
      const auto limit = memory_limit(job).value();
      const auto before = plan_of(job).total_bytes();
      const auto found = largest_capacity(job, limit);
      EXPECT_EQ(job.training.capacity, 128) << "the job is left as it was";
      EXPECT_EQ(plan_of(job).total_bytes(), before) << "a larger plan leaves no scratch behind";
      ASSERT_GT(found.capacity, 128);
      job.training.capacity = found.capacity;
      EXPECT_LE(plan_of(job).total_bytes(), limit);
      EXPECT_EQ(plan_of(job).total_bytes(), found.bytes);
      job.training.capacity = found.capacity + kCapacityStep;
      EXPECT_GT(plan_of(job).total_bytes(), limit);
      job.training.capacity = 128;
    });
}

TEST(LargestCapacity, WithoutALimitItIsThatOfThisMachine) {
  with_job("", [](TrainingJob& job) { EXPECT_GT(memory_limit(job).value_or(0), std::size_t{1} << 20U); });
}

// On every rank, with what is needed and what would fit; nothing has been learnt.
TEST(RequireMemory, RefusesARunThatDoesNotFit) {
  for (const int ranks : {1, 2}) {
    const TemporaryFolder folder;
    TinyJob setup;
    setup.change = [](TrainingJob& job) {
      job.training.capacity = 1 << 20;
      job.run.memory_limit = "3MB";
    };
    for (const auto& end : testing::run_all(setup, folder / "run", ranks))
      expect_error<UserError>([&] { std::rethrow_exception(end.failure); },
                              {"training.capacity = 1048576 needs ", "of memory", "2.9 MiB", "run.memory_limit",
                               "largest training.capacity that fits", "tokens"});
    EXPECT_FALSE(std::filesystem::exists(folder / "run/DONE"));
    setup.change = [](TrainingJob& job) { job.run.memory_limit = "100kB"; };
    expect_error<UserError>([&] { run(setup, folder / "run"); }, {"no amount of memory"});
    setup.change = [](TrainingJob& job) { job.run.memory_limit = "1KiB"; };
    expect_error<UserError>([&] { run(setup, folder / "run"); }, {"no batch fits", "data.max_length"});
  }
}

}  // namespace
}  // namespace lsd::train
