// SPDX-License-Identifier: Apache-2.0
// Started under mpirun with 1, 2 and 4 ranks.
#include <gmock/gmock.h>

#include "dist/collective_checks.h"

namespace lsd::dist {
namespace {

TEST(MpiCommunicator, KeepsTheContract) {
  const auto ranks = make_mpi_communicator();
  check_communicator(*ranks);
  check_duplicates_are_independent(*ranks);
  EXPECT_EQ(ranks->node_rank(), ranks->rank());  // one machine
}

TEST(MpiCommunicator, StagedCollectivesSumInRankOrder) {
  const auto ranks = make_mpi_communicator();
  for (const auto device : {Device::host, Device::cuda}) {
    FakeBackend backend(device);
    const auto collectives = make_staged_collectives(backend, ranks->duplicate());
    check_tensor_collectives(*collectives, ranks->rank(), ranks->size(), backend);
  }
}

TEST(MpiCommunicator, SumsLargerThanOnePieceAreInRankOrder) {
  const auto ranks = make_mpi_communicator();
  FakeBackend backend(Device::host);
  const auto collectives = make_staged_collectives(backend, ranks->duplicate());
  std::vector<float> values((std::size_t{4} << 20U) + 12345);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = awkward(ranks->rank(), i);
  collectives->wait(collectives->all_reduce_sum(
      TensorView(values.data(), DType::float32, {static_cast<std::int64_t>(values.size())}, Device::host)));
  for (std::size_t i = 0; i < values.size(); i += 997) ASSERT_EQ(values[i], sum_in_rank_order(ranks->size(), i)) << i;
  std::vector<double> many(70000, 0.1);
  ranks->all_reduce_sum(std::span(many));
  double expected = 0.1;
  for (int r = 1; r < ranks->size(); ++r) expected += 0.1;
  EXPECT_THAT(many, testing::Each(expected));
}

TEST(MpiCommunicator, GivesUpAtTheDeadline) {
  const auto ranks = make_mpi_communicator();
  if (ranks->size() == 1) GTEST_SKIP() << "one rank waits for nobody";
  const auto late = ranks->duplicate();
  if (ranks->rank() == 0) {
    late->set_deadline(std::chrono::milliseconds(100));
    try {
      late->barrier();
      ADD_FAILURE() << "the barrier should have thrown";
    } catch (const PeerLostError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("rank 0 of"));
      EXPECT_THAT(error.what(), testing::HasSubstr("barrier (call 1"));
    }
  }
  ranks->barrier();  // the others come only now: rank 0's request ends with theirs
  if (ranks->rank() != 0) late->barrier();
}

}  // namespace
}  // namespace lsd::dist

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const lsd::dist::MpiSession session(argc, argv);
  return RUN_ALL_TESTS();
}
