// SPDX-License-Identifier: Apache-2.0
// Messages beyond MPI's int counts: 2 GiB and a little, from rank 0 to rank 1.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <vector>

#include "lsd/dist/host_communicator.h"

namespace lsd::dist {
namespace {

std::byte expected_byte(std::size_t i) {
  return static_cast<std::byte>((i * 2654435761U) >> 24U);
}

TEST(LargeMessages, MayExceedTwoGibibytes) {
  const auto ranks = make_mpi_communicator();
  // One decision for all ranks: free memory changes while they ask.
  std::vector<std::int64_t> short_of_memory{::sysconf(_SC_AVPHYS_PAGES) * ::sysconf(_SC_PAGESIZE) <
                                            (std::int64_t{7} << 30U)};
  ranks->all_reduce_max(std::span(short_of_memory));
  if (short_of_memory[0] != 0) GTEST_SKIP() << "two ranks of 2 GiB need about 7 GiB of free memory";
  const std::size_t size = (std::size_t{2} << 30U) + 4097;
  std::vector<std::byte> message(size);  // both ranks use this one block, to stay within small machines
  std::vector<std::span<const std::byte>> to(2);
  std::vector<std::span<std::byte>> from(2);
  if (ranks->rank() == 0) {
    for (std::size_t i = 0; i < size; i += 4093) message[i] = expected_byte(i);
    message.back() = std::byte{77};
    to[1] = message;
  } else {
    from[0] = message;
  }
  ranks->exchange(to, from);
  for (std::size_t i = 0; i + 1 < size; i += 4093) ASSERT_EQ(message[i], expected_byte(i)) << i;
  EXPECT_EQ(message.back(), std::byte{77});
}

}  // namespace
}  // namespace lsd::dist

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const lsd::dist::MpiSession session(argc, argv);
  return RUN_ALL_TESTS();
}
