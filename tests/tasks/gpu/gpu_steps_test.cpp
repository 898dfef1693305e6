// SPDX-License-Identifier: Apache-2.0
// Whole steps on a GPU.
#include <gtest/gtest.h>

#include "bench_run.h"
#include "lsd/backends/make_backend.h"

namespace lsd::tasks {
namespace {

TEST(GpuSteps, NothingIsAllocatedInsideAStep) {
  std::string why_not;
  if (!backends::cuda_device_present(why_not)) GTEST_SKIP() << why_not;
  for (const char* work : {"nm", "tn", "mlm", "diffusion", "dump"})
    for (const char* type : {"float32", "bfloat16"}) {
      const auto backend = backends::make_cuda_backend({});
      StepBenchConfig config{.work = work};
      config.activation = type;
      config.ceiling = false;
      EXPECT_EQ(testing::run_bench(config, *backend).allocations, 0) << work << ' ' << type;
    }
}

}  // namespace
}  // namespace lsd::tasks
