// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <mutex>

#include "dist/agreement_internal.h"
#include "dist/collective_checks.h"
#include "support/expect_error.h"

namespace lsd::dist {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What each rank's body throws, in rank order; empty where it throws nothing.
std::vector<std::string> errors_on_ranks(int size, const std::function<void(HostCommunicator&)>& body) {
  auto ranks = make_thread_communicators(size);
  std::vector<std::string> errors(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (auto& rank : ranks)
    threads.emplace_back([&body, &rank, &errors] {
      try {
        body(*rank);
      } catch (const Error& error) {
        errors[static_cast<std::size_t>(rank->rank())] = error.what();
      }
    });
  for (auto& thread : threads) thread.join();
  return errors;
}

TEST(OwnGpus, TwoRanksOnOneGpuAreRefusedOnAllRanks) {
  const auto errors = errors_on_ranks(
      3, [](HostCommunicator& ranks) { require_own_gpus(ranks, ranks.rank() == 0 ? "GPU-1b" : "GPU-43"); });
  EXPECT_THAT(errors,
              Each(AllOf(HasSubstr("ranks 1 and 2 are both bound to GPU-43 on "), HasSubstr("--collectives staged"))));
}

TEST(OwnGpus, OneEachOrNoneAtAllIsFine) {
  EXPECT_THAT(errors_on_ranks(3,
                              [](HostCommunicator& ranks) {
                                require_own_gpus(ranks, "GPU-1b" + std::to_string(ranks.rank()));
                                require_own_gpus(ranks, "");
                              }),
              Each(IsEmpty()));
}

TEST(ChooseCollectives, SharingAGpuIsForStagedOnesAlone) {
  const auto choose = [](const char* name) {
    return errors_on_ranks(2, [name](HostCommunicator& ranks) {
      FakeBackend backend(Device::cuda);
      const auto collectives = make_collectives(name, backend, ranks, {.gpu = "GPU-1b"});
      EXPECT_EQ(collectives->name(), "staged");
      check_tensor_collectives(*collectives, ranks.rank(), ranks.size(), backend);
    });
  };
  EXPECT_THAT(choose("staged"), Each(IsEmpty()));
  EXPECT_THAT(choose("auto"), Each(HasSubstr("are both bound to")));
  EXPECT_THAT(choose("nccl"), Each(HasSubstr("are both bound to")));
}

TEST(ChooseCollectives, HostTensorsAreSummedInHostMemory) {
  EXPECT_THAT(errors_on_ranks(2,
                              [](HostCommunicator& ranks) {
                                FakeBackend backend(Device::host);
                                const auto collectives = make_collectives("auto", backend, ranks, {});
                                EXPECT_EQ(collectives->name(), "staged");
                              }),
              Each(IsEmpty()));
  FakeBackend backend(Device::host);
  const auto alone = make_single_communicator();
  EXPECT_EQ(make_collectives("auto", backend, *alone, {})->name(), "single");
  EXPECT_EQ(make_collectives("staged", backend, *alone, {})->name(), "single");
}

TEST(ChooseCollectives, NcclWithoutGpuTensorsIsRefusedInWords) {
  const auto errors = errors_on_ranks(2, [](HostCommunicator& ranks) {
    FakeBackend backend(Device::host);
    make_collectives("nccl", backend, ranks, {});
  });
  EXPECT_THAT(errors, Each(AllOf(HasSubstr("NCCL"), HasSubstr("--collectives staged"))));
}

TEST(ChooseCollectives, UnknownNamesAreRefused) {
  FakeBackend backend(Device::host);
  const auto ranks = make_single_communicator();
  lsd::testing::expect_error<UserError>([&] { make_collectives("gloo", backend, *ranks, {}); },
                                        {"'gloo'", "auto, nccl or staged"});
}

TEST(AllOrNone, GivesEveryRankTheErrorOfTheLowestRankThatFailed) {
  const auto errors = errors_on_ranks(4, [](HostCommunicator& ranks) {
    all_or_none(ranks, [] {});
    try {
      all_or_none(ranks, [&] {
        if (ranks.rank() >= 2) throw UserError("no room on rank " + std::to_string(ranks.rank()));
      });
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::user);
      throw;
    }
  });
  EXPECT_THAT(errors, Each(HasSubstr("no room on rank 2")));
}

}  // namespace
}  // namespace lsd::dist
