// SPDX-License-Identifier: Apache-2.0
// Runs that go on with another number of ranks, and ranks that fall silent.
#include <gmock/gmock.h>

#include <chrono>
#include <mutex>
#include <thread>

#include "support/expect_error.h"
#include "support/temporary_folder.h"
#include "train/tiny_job.h"

namespace lsd::train {
namespace {

using testing::run;
using testing::TemporaryFolder;
using testing::TinyJob;

// Training visits of all ranks, in one list.
struct Visits {
  std::mutex mutex;
  std::vector<std::int64_t> seen;

  std::function<void(const data::HostBatch&, bool)> recorder() {
    return [this](const data::HostBatch& batch, bool validating) {
      const std::lock_guard lock(mutex);
      for (const auto& sequence : batch.sequences)
        if (!validating) seen.push_back(sequence.visit);
    };
  }
  std::vector<std::int64_t> take() {
    std::sort(seen.begin(), seen.end());
    return std::exchange(seen, {});
  }
};

std::vector<std::int64_t> range(std::int64_t begin, std::int64_t end) {
  std::vector<std::int64_t> all;
  for (auto visit = begin; visit < end; ++visit) all.push_back(visit);
  return all;
}

TEST(Elastic, TwoThenFourThenOneRankSeeEverySequenceOnce) {
  for (const std::string variant : {"nm", "tn"}) {
    SCOPED_TRACE(variant);
    const TemporaryFolder folder;
    Visits visits;
    TinyJob setup{.variant = variant, .prepare = visits.recorder()};
    std::vector<std::int64_t> cursors = {0};
    EXPECT_TRUE(run(setup, folder / "whole"));
    const auto whole = visits.take();
    const std::pair<int, int> parts[] = {{2, 5}, {4, 9}, {1, 0}};  // ranks, last step
    for (const auto& [ranks, last] : parts) {
      setup.stop_after = last;
      EXPECT_EQ(run(setup, folder / "elastic", ranks), last == 0);
      const auto cursor = io::open_checkpoint_at(folder / "elastic").state.next_visit;
      EXPECT_EQ(visits.take(), range(cursors.back(), cursor)) << ranks << " ranks: none twice, none left out";
      cursors.push_back(cursor);
    }
    EXPECT_EQ(whole, range(0, cursors.back())) << "as many as without a stop";
    const auto end = io::open_checkpoint_at(folder / "elastic"), alone = io::open_checkpoint_at(folder / "whole");
    EXPECT_EQ(nlohmann::json::parse(end.state.extra_json)["tokens_seen"],
              nlohmann::json::parse(alone.state.extra_json)["tokens_seen"]);
    for (const auto& array : alone.model().arrays()) {
      const auto expected = array.as<float>();
      const auto values = end.model().require(array.name, array.type, array.shape).as<float>();
      for (std::size_t i = 0; i < expected.size(); ++i)
        ASSERT_NEAR(values[i], expected[i], 2e-3) << array.name << ": sums over ranks round differently, no more";
    }
  }
}

TEST(Watchdog, TheOthersNameTheRankThatFellSilent) {
  const TemporaryFolder folder;
  TinyJob setup;
  setup.change = [](TrainingJob& job) {
    job.world.ranks.set_deadline(std::chrono::seconds(4));
    if (job.world.ranks.rank() == 1)
      job.prepare = [slept = false](const data::HostBatch&, bool validating) mutable {
        if (validating && !std::exchange(slept, true)) std::this_thread::sleep_for(std::chrono::seconds(8));
      };
  };
  testing::expect_error<PeerLostError>([&] { run(setup, folder / "run", 2); },
                                       {"rank 0 of 2 gave up in ", "deadline of 4 s", "all ranks took part in step ",
                                        "longest silent: rank 1 on ", "pid"});
}

TEST(Watchdog, EachRankTellsWhatItIsAt) {
  const TemporaryFolder folder;
  EXPECT_TRUE(run({.steps = 4}, folder / "run", 2));
  for (const auto* name : {"rank-00000.json", "rank-00001.json"}) {
    const auto beat = nlohmann::json::parse(read_text_file(folder / "run/attempts/0001" / name));
    for (const auto* key : {"rank", "host", "pid", "step", "phase", "phase_seconds", "time"})
      EXPECT_TRUE(beat.contains(key)) << key;
  }
}

TEST(Stragglers, TheSlowestRankStandsInTheMetrics) {
  const TemporaryFolder folder;
  TinyJob setup{.steps = 6};
  setup.change = [](TrainingJob& job) {
    if (job.world.ranks.rank() == 1)
      job.prepare = [](const data::HostBatch&, bool) { std::this_thread::sleep_for(std::chrono::milliseconds(200)); };
  };
  EXPECT_TRUE(run(setup, folder / "run", 2));
  std::ifstream file(folder / "run/metrics.jsonl");
  int lines = 0;
  for (std::string text; std::getline(file, text);) {
    const auto line = nlohmann::json::parse(text);
    if (line["kind"] != "train") continue;
    ++lines;
    EXPECT_GE(line["busy_seconds_slowest"].get<double>(), 3 * 2 * 0.2) << "3 steps of 2 micro-batches";
    EXPECT_GE(line["busy_seconds_slowest"], line["busy_seconds_median"]);
  }
  EXPECT_EQ(lines, 2);
}

}  // namespace
}  // namespace lsd::train
