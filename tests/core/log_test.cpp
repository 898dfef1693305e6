// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lsd {
namespace {

using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::internal::CaptureStderr;
using ::testing::internal::GetCapturedStderr;

TEST(Human, Numbers) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1023), "1023 B");
  EXPECT_EQ(human_bytes(900), "900 B");
  EXPECT_EQ(human_bytes(3.4 * 1024 * 1024 * 1024), "3.4 GiB");
  EXPECT_EQ(human_count(999), "999");
  EXPECT_EQ(human_count(18.7e9), "18.7 G");
  EXPECT_EQ(human_count(12.34), "12.3");
  EXPECT_EQ(human_duration(0.25), "0.2 s");
  EXPECT_EQ(human_duration(59), "59 s");
  EXPECT_EQ(human_duration(65), "1 min 05 s");
  EXPECT_EQ(human_duration(2 * 3600 + 5 * 60), "2 h 05 min");
  EXPECT_EQ(human_duration(3 * 86400 + 4 * 3600), "3 d 04 h");
  EXPECT_EQ(human_duration(1.0 / 0.0), "unknown time");
}

TEST(Log, OnlyTheRootInformsAndEveryRankWarns) {
  const Log other({.root = false, .rank = 1, .ranks = 2});
  CaptureStderr();
  other.info("quiet words");
  other.warn("loud words");
  const auto text = GetCapturedStderr();
  EXPECT_EQ(text.find("quiet words"), std::string::npos);
  EXPECT_THAT(text, HasSubstr("warning (rank 1 of 2): loud words\n"));
}

TEST(Log, EveryLineOfATextHasItsTime) {
  const Log log;
  CaptureStderr();
  log.info("a table\n  1\n  2\n");
  EXPECT_THAT(GetCapturedStderr(), MatchesRegex("20[-0-9: ]+ a table\n20[-0-9: ]+   1\n20[-0-9: ]+   2\n"));
}

TEST(Log, QuietKeepsWarnings) {
  const Log log({.quiet = true});
  CaptureStderr();
  log.info("information");
  log.error("an error");
  const auto text = GetCapturedStderr();
  EXPECT_EQ(text.find("information"), std::string::npos);
  EXPECT_THAT(text, HasSubstr("error: an error"));
}

TEST(Progress, EndsWithTheWorkOfThisRunOnly) {
  const Log log;
  CaptureStderr();
  {
    Progress progress(log, "training", 1000, "steps", 400);  // resumed at 400
    for (int step = 400; step < 1000; ++step) progress.update(step + 1, "loss 2.31");
    progress.finish();
  }
  EXPECT_THAT(GetCapturedStderr(), HasSubstr("training: 600 steps in "));
}

// 300 of 1,200 in 150 s are 2 a second: 900 more take 450 s.
TEST(Progress, TellsRateAndTimeLeftByTheWorkOfThisRun) {
  EXPECT_EQ(progress_text(0, 300, 1200, "steps", 150), " 25.0 %  300 of 1.2 k steps  2 steps/s  7 min 30 s left");
  EXPECT_EQ(progress_text(300, 600, 1200, "steps", 150), " 50.0 %  600 of 1.2 k steps  2 steps/s  5 min 00 s left");
  EXPECT_EQ(progress_text(300, 300, 1200, "steps", 1), " 25.0 %  300 of 1.2 k steps");
}

TEST(Progress, OfWorkWhoseEndNobodyKnowsTellsNoShareOfIt) {
  EXPECT_EQ(progress_text(0, 300, 0, "bytes", 150), "300 bytes  2 bytes/s");
}

TEST(Progress, IsSilentAwayFromTheRoot) {
  const Log log({.root = false, .rank = 1, .ranks = 2});
  CaptureStderr();
  Progress progress(log, "training", 10, "steps");
  progress.update(10);
  progress.finish();
  EXPECT_EQ(GetCapturedStderr(), "");
}

}  // namespace
}  // namespace lsd
