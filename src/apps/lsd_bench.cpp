// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "lsd/apps/run_app.h"
#include "lsd/tasks/step_bench.h"

namespace {

lsd::tasks::Outcome bench(const lsd::tasks::StepBenchConfig& config, lsd::tasks::Runtime& runtime) {
  std::fputs(lsd::tasks::step_bench(config, runtime).text.c_str(), stdout);
  return lsd::tasks::Outcome::done;
}

}  // namespace

int main(int argc, char** argv) {
  return lsd::apps::run_app<lsd::tasks::StepBenchConfig>(
      {.name = "lsd_bench",
       .summary = "time training steps and embedding of packed random sequences",
       .example = "lsd_bench --work=nm --model=nano --tokens=16384 --threads=2"},
      argc, argv, bench);
}
