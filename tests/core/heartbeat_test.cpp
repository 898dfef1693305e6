// SPDX-License-Identifier: Apache-2.0
// What a rank tells of itself reaches its file when it changes, not only now and then; and what others make of it.
#include "lsd/core/heartbeat.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "lsd/core/atomic_file.h"
#include "support/temporary_folder.h"

namespace lsd {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using testing::TemporaryFolder;

nlohmann::json beat_in(const std::filesystem::path& folder) {
  return nlohmann::json::parse(read_text_file(folder / "rank-00000.json"));
}

// Until the file tells of this step; false when that takes far longer than any write.
bool tells_of(const std::filesystem::path& folder, std::int64_t step, const std::string& phase) {
  const auto end = std::chrono::steady_clock::now() + 60s;
  while (std::chrono::steady_clock::now() < end) {
    const auto beat = beat_in(folder);
    if (beat["step"] == step && beat["phase"] == phase) return true;
    std::this_thread::sleep_for(1ms);
  }
  return false;
}

TEST(Heartbeat, AChangeIsToldAtOnceAndNotAtTheNextBeat) {
  const TemporaryFolder folder;
  Heartbeat heartbeat(folder.path(), 0, {.least = 0ms, .most = 1h});
  EXPECT_TRUE(tells_of(folder.path(), 0, "start"));
  for (const std::int64_t step : {6, 7, 8}) {
    heartbeat.note(step, "step");
    EXPECT_TRUE(tells_of(folder.path(), step, "step")) << step;
    heartbeat.note(step, "checkpoint");
    EXPECT_TRUE(tells_of(folder.path(), step, "checkpoint")) << step;
  }
}

TEST(Heartbeat, ManyChangesAreNotWrittenOneByOne) {
  const TemporaryFolder folder;
  Heartbeat heartbeat(folder.path(), 0, {.least = 1h, .most = 1h});
  for (std::int64_t step = 1; step <= 1000; ++step) heartbeat.note(step, "step");
  EXPECT_EQ(beat_in(folder.path())["step"], 0) << "the time between two writes is not over";
}

TEST(Heartbeat, ARankThatGoesOnTellsSoWithoutAChange) {
  const TemporaryFolder folder;
  Heartbeat heartbeat(folder.path(), 0, {.least = 0ms, .most = 5ms});
  heartbeat.note(3, "checkpoint");
  EXPECT_TRUE(tells_of(folder.path(), 3, "checkpoint"));
  std::filesystem::remove(folder / "rank-00000.json");
  const auto end = std::chrono::steady_clock::now() + 60s;
  while (!std::filesystem::exists(folder / "rank-00000.json") && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(1ms);
  EXPECT_EQ(beat_in(folder.path())["step"], 3);
}

TEST(Heartbeat, OneWriteASecondAndNoMoreThanAHundredByAllRanks) {
  EXPECT_EQ(Heartbeat::pace_of(1).least, 1s);
  EXPECT_EQ(Heartbeat::pace_of(100).least, 1s);
  EXPECT_EQ(Heartbeat::pace_of(512).least, 5120ms);
  for (const int ranks : {1, 512, 4096}) EXPECT_LE(Heartbeat::pace_of(ranks).least, Heartbeat::pace_of(ranks).most);
}

void write_beat(const TemporaryFolder& folder, int rank, std::int64_t step, const std::string& phase, int seconds_ago) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const nlohmann::json beat = {{"rank", rank},
                               {"host", "node" + std::to_string(rank)},
                               {"pid", 100 + rank},
                               {"step", step},
                               {"phase", phase},
                               {"phase_seconds", 2},
                               {"time", std::chrono::duration_cast<std::chrono::seconds>(now).count() - seconds_ago}};
  std::ofstream(folder / ("rank-0000" + std::to_string(rank) + ".json")) << beat;
}

TEST(WhoIsMissing, NamesRankNodeStepPhaseAndAge) {
  const TemporaryFolder folder;
  write_beat(folder, 0, 7, "step", 0);
  write_beat(folder, 1, 6, "checkpoint", 90);
  EXPECT_THAT(who_is_missing(folder.path(), 2, 0, true),
              MatchesRegex("longest silent: rank 1 on node1 \\(pid 101\\), last heard of 9[0-9] s ago, then for 2 s in "
                           "step 6 \\(checkpoint\\)"));
}

TEST(WhoIsMissing, NamesWhoIsFurthestBehindBesideTheSilentOne) {
  const TemporaryFolder folder;
  write_beat(folder, 1, 7, "step", 90);
  write_beat(folder, 2, 5, "validation", 1);
  EXPECT_THAT(who_is_missing(folder.path(), 3, 0, true), HasSubstr("silent: rank 1 on node1"));
  EXPECT_THAT(who_is_missing(folder.path(), 3, 0, true), HasSubstr("furthest behind: rank 2 on node2"));
  EXPECT_EQ(who_is_missing(folder.path(), 3, 0, false).find("furthest behind"), std::string::npos) << "no order";
}

TEST(WhoIsMissing, ARankWithoutAFileHasToldNothing) {
  const TemporaryFolder folder;
  EXPECT_EQ(who_is_missing(folder.path(), 2, 0, true), "longest silent: rank 1 (it has told nothing)");
  EXPECT_EQ(who_is_missing(folder.path(), 1, 0, true), "");
}

TEST(WhoIsMissing, DoesNotWaitForAFileSystemThatHangs) {
  const TemporaryFolder folder;
  const auto file = folder / "rank-00001.json";
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);  // to be opened by a reader once somebody writes
  EXPECT_EQ(who_is_missing(folder.path(), 2, 0, true, 50ms),
            folder.path().string() + ", where ranks tell what they are at, does not answer");
  std::ofstream(file) << "{}";  // lets the reader go
}

}  // namespace
}  // namespace lsd
