// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/host_memory.h"

#include <gtest/gtest.h>

#include "lsd/core/error.h"
#include "support/expect_error.h"

namespace lsd {
namespace {

TEST(HostMemory, ReadsAmountsWithTheirUnits) {
  EXPECT_EQ(bytes_from_text("80GiB"), 80ULL << 30U);
  EXPECT_EQ(bytes_from_text("1.5 MiB"), 3ULL << 19U);
  EXPECT_EQ(bytes_from_text("16GB"), 16'000'000'000ULL);
  EXPECT_EQ(bytes_from_text("1048576"), 1048576ULL);
}

TEST(HostMemory, RefusesWhatIsNoAmount) {
  for (const auto* text : {"", "GiB", "80 GiBi", "-1GiB", "nan", "inf", "80G", "1e400", "9999999999TiB"})
    testing::expect_error<UserError>([&] { bytes_from_text(text); }, {"no amount of memory", "80GiB"});
}

TEST(HostMemory, ThisMachineHasSome) {
  EXPECT_GT(available_host_memory(), 1ULL << 20U);
}

}  // namespace
}  // namespace lsd
