// SPDX-License-Identifier: Apache-2.0
#include "dist/nccl/collective_watch_internal.h"

#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <thread>

#include "lsd/core/error.h"

namespace lsd::dist {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// A device whose collectives end, fail or hang as told.
struct FakeTransport {
  std::atomic<std::int64_t> ended_up_to{0};
  std::atomic<bool> broken{false}, of_a_peer{true};
  std::atomic<int> aborts{0};

  WatchedTransport calls() {
    return {
        .ended = [this](TensorCollectives::Ticket ticket) { return ticket <= ended_up_to; },
        .failure =
            [this] {
              return broken ? std::optional(TransportFailure{"remote process exited", of_a_peer.load()}) : std::nullopt;
            },
        .abort = [this] { ++aborts; }};
  }
};

// Waits for the watch's thread, without a guess at how long that takes.
std::string error_of(const CollectiveWatch& watch) {
  while (!watch.failed()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  try {
    watch.throw_if_failed();
  } catch (const PeerLostError& error) {
    return error.what();
  }
  return "no PeerLostError";
}

CollectiveWatch::Options options(std::chrono::milliseconds deadline) {
  return {.rank = "rank 1 of 4", .deadline = deadline, .interval = std::chrono::milliseconds(1)};
}

TEST(CollectiveWatch, NamesRankAndCollectiveThatPassedItsDeadline) {
  FakeTransport transport;
  {
    CollectiveWatch watch(options(std::chrono::milliseconds(30)), transport.calls());
    transport.ended_up_to = 1;
    watch.add(1, "broadcast of 5 values");
    watch.add(2, "all_reduce_sum of 4096 values");
    watch.add(3, "all_reduce_sum of 7 values");
    EXPECT_THAT(error_of(watch), AllOf(HasSubstr("rank 1 of 4"), HasSubstr("tensor collective 2"),
                                       HasSubstr("all_reduce_sum of 4096 values"), HasSubstr("deadline of 0.03 s")));
    EXPECT_THROW(watch.throw_if_failed(), PeerLostError);  // from now on, every time
  }
  EXPECT_EQ(transport.aborts, 1);
}

TEST(CollectiveWatch, TellsWhatTheTransportReports) {
  FakeTransport transport;
  {
    CollectiveWatch watch(options(std::chrono::hours(1)), transport.calls());
    watch.add(1, "all_gather of 8 values");
    watch.throw_if_failed();
    transport.broken = true;
    EXPECT_THAT(error_of(watch), AllOf(HasSubstr("rank 1 of 4"), HasSubstr("tensor collective 1"),
                                       HasSubstr("all_gather of 8 values"), HasSubstr("remote process exited")));
  }
  EXPECT_EQ(transport.aborts, 1);
}

// A device that failed here is no lost peer: the run has failed.
TEST(CollectiveWatch, TellsOwnFailuresFromThoseOfPeers) {
  FakeTransport transport;
  transport.of_a_peer = false;
  CollectiveWatch watch(options(std::chrono::hours(1)), transport.calls());
  watch.add(1, "all_reduce_sum of 7 values");
  transport.broken = true;
  while (!watch.failed()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_THROW(watch.throw_if_failed(), SystemError);
}

TEST(CollectiveWatch, LeavesCollectivesThatEndAlone) {
  FakeTransport transport;
  {
    CollectiveWatch watch(options(std::chrono::hours(1)), transport.calls());
    for (std::int64_t ticket = 1; ticket <= 200; ++ticket) {
      watch.add(ticket, "all_reduce_sum of 1 values");
      transport.ended_up_to = ticket;
    }
    EXPECT_FALSE(watch.failed());
    watch.throw_if_failed();
  }
  EXPECT_EQ(transport.aborts, 0);
}

TEST(CollectiveWatch, CanGoWhileWorkIsInFlight) {
  FakeTransport transport;
  {
    CollectiveWatch watch(options(std::chrono::hours(1)), transport.calls());
    watch.add(1, "broadcast of 1 values");
  }
  EXPECT_EQ(transport.aborts, 0);
}

}  // namespace
}  // namespace lsd::dist
