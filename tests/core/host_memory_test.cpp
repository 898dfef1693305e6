// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/host_memory.h"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>

#include "lsd/core/error.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

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

class ControlGroups : public ::testing::Test {
 protected:
  void write(const std::string& path, const std::string& text) {
    const auto file = folder_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::uint64_t available(const std::string& memberships) {
    write("memberships", memberships);
    return available_in_control_groups(folder_ / "memberships", folder_ / "root");
  }
  static constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();
  testing::TemporaryFolder folder_;
};

TEST_F(ControlGroups, TheTightestOfAJobsGroupsCounts) {
  write("root/slurm/job_7/memory.max", "1000\n");
  write("root/slurm/job_7/memory.current", "300\n");
  write("root/slurm/job_7/step_0/memory.max", "max\n");
  write("root/slurm/job_7/step_0/memory.current", "200\n");
  EXPECT_EQ(available("0::/slurm/job_7/step_0\n"), 700U) << "the step has no limit, its job has";
  write("root/slurm/memory.max", "900\n");
  write("root/slurm/memory.current", "850\n");
  EXPECT_EQ(available("0::/slurm/job_7/step_0\n"), 50U) << "other jobs have used what the group around has";
  EXPECT_EQ(available("0::/elsewhere\n"), kNone);
}

TEST_F(ControlGroups, PagesOfFilesAreFree) {
  write("root/job/memory.max", "1000\n");
  write("root/job/memory.current", "900\n");
  write("root/job/memory.stat", "anon 300\nfile 600\ninactive_file 450\nactive_file 100\n");
  EXPECT_EQ(available("0::/job\n"), 1000U - (900U - 550U));
  write("root/job/memory.current", "1200\n");
  write("root/job/memory.stat", "anon 1200\n");
  EXPECT_EQ(available("0::/job\n"), 0U) << "more than the limit, which was lowered";
}

TEST_F(ControlGroups, VersionOneHasATreeOfItsOwn) {
  write("root/memory/slurm/job_7/memory.limit_in_bytes", "5000\n");
  write("root/memory/slurm/job_7/memory.usage_in_bytes", "4000\n");
  write("root/memory/slurm/job_7/memory.stat", "inactive_file 7\ntotal_inactive_file 1000\ntotal_active_file 500\n");
  write("root/slurm/job_7/memory.max", "1\n");  // of no version 2
  EXPECT_EQ(available("9:cpu:/slurm/job_7\n4:memory:/slurm/job_7/step_0\n"), 2500U);
  EXPECT_EQ(available("4:cpu,memory:/slurm/job_7\n0::/\n"), 2500U);
}

TEST_F(ControlGroups, AContainerSeesItsOwnAsTheRoot) {
  write("root/memory.max", "64\n");
  write("root/memory.current", "4\n");
  EXPECT_EQ(available("0::/\n"), 60U);
  EXPECT_EQ(available("0::/../outside\n"), 60U);
  EXPECT_EQ(available("nonsense\n"), kNone);
  EXPECT_EQ(available_in_control_groups(folder_ / "none", folder_ / "root"), kNone);
}

}  // namespace
}  // namespace lsd
