// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include "dist/collective_checks.h"

namespace lsd::dist {
namespace {

// Runs `body` once per rank, each on a thread.
void on_ranks(int size, const std::function<void(HostCommunicator&)>& body) {
  auto ranks = make_thread_communicators(size);
  std::vector<std::thread> threads;
  for (auto& rank : ranks) threads.emplace_back([&body, &rank] { body(*rank); });
  for (auto& thread : threads) thread.join();
}

TEST(SingleCommunicator, IsARealCommunicator) {
  const auto ranks = make_single_communicator();
  check_communicator(*ranks);
  check_duplicates_are_independent(*ranks);
}

class ThreadCommunicators : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, ThreadCommunicators, testing::Values(1, 2, 3, 4));

TEST_P(ThreadCommunicators, KeepTheContract) {
  on_ranks(GetParam(), check_communicator);
}
TEST_P(ThreadCommunicators, DuplicatesAreIndependent) {
  on_ranks(GetParam(), check_duplicates_are_independent);
}

TEST_P(ThreadCommunicators, StagedSumsOfHostTensorsAreInRankOrderAndInPlace) {
  on_ranks(GetParam(), [](HostCommunicator& ranks) {
    FakeBackend backend(Device::host);
    const auto collectives = make_staged_collectives(backend, ranks.duplicate());
    check_tensor_collectives(*collectives, ranks.rank(), ranks.size(), backend);
    EXPECT_EQ(backend.uploads + backend.downloads, 0);
  });
}

TEST_P(ThreadCommunicators, StagedSumsOfDeviceTensorsGoThroughHostMemory) {
  on_ranks(GetParam(), [](HostCommunicator& ranks) {
    FakeBackend backend(Device::cuda);
    const auto collectives = make_staged_collectives(backend, ranks.duplicate());
    check_tensor_collectives(*collectives, ranks.rank(), ranks.size(), backend);
    EXPECT_EQ(backend.uploads, 7);
    EXPECT_EQ(backend.downloads, 6 + (ranks.rank() == ranks.size() - 1 ? 1 : 0));
  });
}

TEST(SingleCollectives, LeaveSumsAndCopySlices) {
  FakeBackend host(Device::host), device(Device::cuda);
  check_tensor_collectives(*make_single_collectives(), 0, 1, host);
  check_tensor_collectives(*make_single_collectives(device), 0, 1, device);
}

TEST(StagedCollectives, WorkWhileTheCallerComputes) {
  on_ranks(2, [](HostCommunicator& ranks) {
    FakeBackend backend(Device::host);
    const auto collectives = make_staged_collectives(backend, ranks.duplicate());
    std::vector<float> block(1 << 16, 1.0F);
    std::vector<TensorCollectives::Ticket> tickets;
    for (std::int64_t bucket = 3; bucket >= 0; --bucket) {  // the back of the block is final first
      for (std::int64_t i = 0; i < 1 << 14; ++i) block[static_cast<std::size_t>(bucket * (1 << 14) + i)] += 1.0F;
      tickets.push_back(collectives->all_reduce_sum(
          TensorView(block.data() + bucket * (1 << 14), DType::float32, {1 << 14}, Device::host)));
    }
    for (const auto ticket : tickets) collectives->wait(ticket);
    EXPECT_THAT(block, testing::Each(4.0F));
  });
}

template <class Body>
std::string system_error_of(Body&& body) {
  try {
    body();
  } catch (const PeerLostError& error) {
    return error.what();
  }
  return "no PeerLostError";
}

TEST(Deadlines, NameCollectiveRankAndCall) {
  auto ranks = make_thread_communicators(2);
  ranks[1]->set_deadline(std::chrono::milliseconds(30));
  const auto text = system_error_of([&] { ranks[1]->barrier(); });
  EXPECT_THAT(text, testing::AllOf(testing::HasSubstr("rank 1 of 2"), testing::HasSubstr("barrier"),
                                   testing::HasSubstr("call 1"), testing::HasSubstr("0.03 s")));
  // The late rank learns at once that nobody waits any more.
  EXPECT_THAT(system_error_of([&] { ranks[0]->barrier(); }), testing::HasSubstr("rank 0 of 2"));
}

TEST(Deadlines, ReachTheWaitOfATensorCollective) {
  auto ranks = make_thread_communicators(2);
  ranks[0]->set_deadline(std::chrono::milliseconds(30));
  FakeBackend backend(Device::host);
  const auto collectives = make_staged_collectives(backend, std::move(ranks[0]));
  std::vector<float> values(8);
  const auto ticket = collectives->all_reduce_sum(TensorView(values.data(), DType::float32, {8}, Device::host));
  EXPECT_THAT(system_error_of([&] { collectives->wait(ticket); }),
              testing::AllOf(testing::HasSubstr("rank 0 of 2"), testing::HasSubstr("exchange"),
                             testing::HasSubstr("tensor collective 1 (all_reduce_sum)")));
}

TEST(Mismatches, AreFoundWhereTheyCanBe) {
  const auto ranks = make_single_communicator();
  std::vector<std::byte> two(2), one(1);
  const std::vector<std::span<const std::byte>> to{two};
  const std::vector<std::span<std::byte>> from{one};
  EXPECT_THROW(ranks->exchange(to, from), InternalError);
  EXPECT_THROW(ranks->broadcast(two, 1), InternalError);
}

TEST(LaunchedByMpi, LooksAtTheLaunchersVariables) {
  const std::vector<const char*> all{"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS", "PMIX_RANK"};
  const auto with = [&](const char* name, const char* value) {
    for (const char* variable : all) unsetenv(variable);
    if (name != nullptr) setenv(name, value, 1);
    return launched_by_mpi();
  };
  EXPECT_FALSE(with(nullptr, ""));
  EXPECT_FALSE(with("OMPI_COMM_WORLD_SIZE", "1"));
  EXPECT_TRUE(with("OMPI_COMM_WORLD_SIZE", "2"));
  EXPECT_TRUE(with("PMI_SIZE", "4"));
  EXPECT_FALSE(with("SLURM_STEP_NUM_TASKS", "1"));
  EXPECT_TRUE(with("SLURM_STEP_NUM_TASKS", "3"));
  EXPECT_TRUE(with("PMIX_RANK", "0"));
  with(nullptr, "");
}

}  // namespace
}  // namespace lsd::dist
