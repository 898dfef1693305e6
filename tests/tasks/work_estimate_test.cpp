// SPDX-License-Identifier: Apache-2.0
#include "estimate/work_estimate_internal.h"

#include <gtest/gtest.h>

#include "lsd/dist/host_communicator.h"
#include "probe/probe_estimate_internal.h"

namespace lsd::tasks {
namespace {

const WorkEstimate kDump{.memory_bytes = 3221225472,
                         .memory_of = "weights, activations",
                         .disk_bytes = 5.0 * 1024 * 1024,
                         .work = 7.2e6,
                         .unit = "tokens"};

TEST(WorkEstimate, Sizes) {
  EXPECT_EQ(kDump.sizes(),
            "estimate: 3.0 GiB of memory on a rank (weights, activations); 5.0 MiB of disk; 7.2 M tokens on the rank "
            "with the most");
}

// 4000 tokens in 2 s are 2000 tokens/s; 7.2e6 / 2000 = 3600 s.
TEST(WorkEstimate, TimeAtTheRateOfTheFirstPiece) {
  EXPECT_EQ(kDump.time(4000, 2.0),
            "estimate: 1 h 00 min in all, at the 2.0 k tokens/s that the first 2.0 s showed on rank 0");
}

TEST(WorkEstimate, SaysWhatTheTimeIsFor) {
  auto reading = kDump;
  reading.time_of = "reading";
  EXPECT_EQ(reading.time(7200, 1.0).substr(0, 37), "estimate: reading, 16 min 40 s in all");
}

TEST(WorkEstimate, TheTimeOfWorkOfUnknownAmountIsNotTold) {
  const auto told_of = [](double work) {
    const Log log;
    auto estimate = kDump;
    estimate.work = work;
    ::testing::internal::CaptureStderr();
    TimeTeller teller(log, estimate);
    for (int piece = 1; piece <= 3; ++piece) teller.update(1e-3 * piece);
    return ::testing::internal::GetCapturedStderr();
  };
  const auto told = told_of(7.2e6);
  EXPECT_NE(told.find("in all, at the"), std::string::npos) << told;
  EXPECT_EQ(told.find("in all", told.find("in all") + 1), std::string::npos) << "told once";
  EXPECT_EQ(told_of(0), "");
}

ProbeResult result_of(const std::string& head) {
  ProbeResult result;
  result.kind = "classes";
  result.classes = 10;
  result.pairs = true;
  result.train_rows = 1000;
  result.valid_rows = 200;
  result.test_rows = 300;
  result.width = 64;
  result.head = head;
  return result;
}

// Pairs of width 64: 128 columns. Linear: 128 x 10 = 1280 weights x (6 x 1000 + 2 x 200) x 50 epochs; mlp: 256 x (128 +
// 10).
TEST(ProbeEstimate, OperationsByHand) {
  const ProbeHeadConfig head{.hidden = 256, .epochs = 50};
  EXPECT_DOUBLE_EQ(head_operations(result_of("linear"), head), 1280.0 * 6400 * 50);
  EXPECT_DOUBLE_EQ(head_operations(result_of("mlp"), head), 35328.0 * 6400 * 50);
}

// 2000 sequences x 64 and 1500 rows x 128 features in float32; three files.
TEST(ProbeEstimate, OfThreeHeads) {
  const auto ranks = dist::make_single_communicator();
  const ProbeHeadConfig head{.hidden = 256, .epochs = 50};
  const auto estimate =
      estimate_heads({result_of("linear"), result_of("linear"), result_of("mlp")}, head, 2000, *ranks);
  EXPECT_DOUBLE_EQ(estimate.memory_bytes, 4.0 * (2000 * 64 + 1500 * 128));
  EXPECT_DOUBLE_EQ(estimate.disk_bytes, 3 * 4096.0);
  EXPECT_DOUBLE_EQ(estimate.work, (2 * 1280.0 + 35328.0) * 6400 * 50);
}

}  // namespace
}  // namespace lsd::tasks
