// SPDX-License-Identifier: Apache-2.0
// Checkpoints that cannot be written while training goes on: every rank ends with an error, none waits for ever, the
// last good checkpoint stays, and with room again the run ends like one that was never in trouble.
#include <gmock/gmock.h>

#include "lsd/core/fault_point.h"
#include "support/temporary_folder.h"
#include "train/tiny_job.h"

namespace lsd::train {
namespace {

using ::testing::HasSubstr;
using testing::run;
using testing::run_all;
using testing::TemporaryFolder;
using testing::TinyJob;

class ArmedFaults {
 public:
  explicit ArmedFaults(const std::string& faults) { arm_faults(faults, 0); }
  ~ArmedFaults() { arm_faults("", 0); }
  ArmedFaults(const ArmedFaults&) = delete;
  ArmedFaults& operator=(const ArmedFaults&) = delete;
};

std::string error_of(const std::exception_ptr& failure) {
  try {
    if (failure) std::rethrow_exception(failure);
  } catch (const SystemError& error) {
    return error.what();
  }
  return "no SystemError";
}

struct Failure {
  const char* fault;        // on every rank that passes the point
  std::int64_t last_good;   // step
  std::int64_t stop_after;  // 0: not
};

class CheckpointFailure : public ::testing::TestWithParam<std::tuple<Failure, int>> {};

TEST_P(CheckpointFailure, EndsEveryRankAndKeepsTheLastGoodOne) {
  const auto& [failure, ranks] = GetParam();
  const TemporaryFolder folder;
  EXPECT_TRUE(run({}, folder / "whole", ranks));
  {
    const ArmedFaults armed(failure.fault);
    const auto ends = run_all({.stop_after = failure.stop_after}, folder / "run", ranks);
    for (std::size_t rank = 0; rank < ends.size(); ++rank) {
      EXPECT_FALSE(ends[rank].done);
      EXPECT_THAT(error_of(ends[rank].failure),
                  HasSubstr(rank == 0 ? "No space left on device" : "rank 0 could not write the last checkpoint"));
    }
  }
  for (const auto* state : {"DONE", "STOPPED"}) EXPECT_FALSE(std::filesystem::exists(folder / "run" / state)) << state;
  EXPECT_EQ(io::open_checkpoint_at(folder / "run").state.step, failure.last_good) << "whole and in force";
  EXPECT_TRUE(run({}, folder / "run", ranks));
  testing::expect_same_end(folder / "whole", folder / "run");
}

// Checkpoints are due behind steps 4, 8 and 12: fails with the run going on, in its last one, and in the one of a stop.
INSTANTIATE_TEST_SUITE_P(Moments, CheckpointFailure,
                         ::testing::Combine(::testing::Values(Failure{"checkpoint.tensors_written#2=enospc", 4, 0},
                                                              Failure{"checkpoint.state_written#3=enospc", 8, 0},
                                                              Failure{"checkpoint.begun#2=enospc", 4, 6}),
                                            ::testing::Values(1, 3)));

}  // namespace
}  // namespace lsd::train
