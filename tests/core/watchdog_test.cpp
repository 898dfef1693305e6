// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/watchdog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <future>
#include <thread>

#include "support/temporary_folder.h"

namespace lsd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

TEST(Standstill, AddsUpUntilTheCountChanges) {
  Standstill standstill(seconds(2));
  EXPECT_EQ(standstill.look(1, seconds(1)), seconds(0));
  EXPECT_EQ(standstill.look(1, seconds(1)), seconds(1));
  EXPECT_EQ(standstill.look(1, seconds(2)), seconds(3));
  EXPECT_EQ(standstill.look(2, seconds(1)), seconds(0));
  EXPECT_EQ(standstill.look(2, seconds(1)), seconds(1));
}

TEST(Standstill, ASuspendedProcessIsNotStuck) {
  Standstill standstill(seconds(2));
  standstill.look(1, seconds(1));
  EXPECT_EQ(standstill.look(1, std::chrono::hours(8)), seconds(2));
}

struct Ended {
  std::promise<std::string> line;
  std::string told;

  Watchdog::Options options(milliseconds limit) {
    return {.limit = limit,
            .who = "rank 3 of 4",
            .tell = [this](const std::string& text) { told = text; },
            .end = [this] { line.set_value(told); }};
  }
};

TEST(Watchdog, NamesWhatStandsStill) {
  Ended ended;
  auto line = ended.line.get_future();
  Watchdog watchdog(ended.options(milliseconds(20)));
  watchdog.note(17, "validation");
  const auto text = line.get();
  for (const auto* part : {"rank 3 of 4 on ", "pid ", "no progress for 0 s", "step 17", "(validation)"})
    EXPECT_THAT(text, HasSubstr(part));
}

TEST(Watchdog, AtRestNothingIsExpected) {
  Ended ended;
  auto line = ended.line.get_future();
  Watchdog watchdog(ended.options(milliseconds(5)));
  EXPECT_EQ(line.wait_for(milliseconds(200)), std::future_status::timeout) << "nothing has begun";
  { const WatchScope scope(watchdog, "step"); }
  // Its end may have come within the scope on a machine that stood still itself; behind it, it cannot begin.
  if (line.wait_for(milliseconds(0)) == std::future_status::timeout) {
    EXPECT_EQ(line.wait_for(milliseconds(200)), std::future_status::timeout);
  }
}

TEST(Watchdog, TellsOthersAlsoWhatWasNotedBefore) {
  const testing::TemporaryFolder folder;
  Watchdog watchdog;
  watchdog.note(4, "reading");
  const auto pace = Heartbeat::Pace{.least = milliseconds(0), .most = std::chrono::hours(1)};
  watchdog.tell_others(std::make_shared<Heartbeat>(folder.path(), 1, pace));
  const auto end = std::chrono::steady_clock::now() + seconds(60);
  const auto told = [&] { return who_is_missing(folder.path(), 2, 0, false); };
  while (told().find("in step 4 (reading)") == std::string::npos && std::chrono::steady_clock::now() < end)
    std::this_thread::sleep_for(milliseconds(1));
  EXPECT_THAT(told(), HasSubstr("in step 4 (reading)"));
}

TEST(Watchdog, WithoutALimitItDoesNothing) {
  Watchdog watchdog;
  watchdog.note(1, "step");
  watchdog.progress();
  watchdog.rest();
}

TEST(WatchdogDeathTest, EndsTheProcessEvenWhenNobodyCanBeTold) {
  const auto hang = [] {
    Watchdog watchdog({.limit = milliseconds(20), .who = "rank 0 of 1", .tell = [](const std::string&) { ::pause(); }});
    watchdog.note(1, "step");
    while (true) ::pause();
  };
  EXPECT_EXIT(hang(), ::testing::ExitedWithCode(1), "");
}

}  // namespace
}  // namespace lsd
