// SPDX-License-Identifier: Apache-2.0
// A program that ends in every way that a program can end.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <thread>

#include "lsd/apps/run_app.h"
#include "lsd/core/error.h"
#include "lsd/core/run_dir.h"

namespace {

struct Config {
  std::string end = "done";
  std::int64_t failing_rank = 0;
  std::string run_folder;
  double unused = 0.5;

  static void visit(auto& self, auto&& field) {
    field("end", self.end,
          {.help = "how to end", .choices = "done|stopped|user_error|exception|internal|wait_for_signal|kill|silence"});
    field("failing_rank", self.failing_rank, {.help = "which rank ends so; -1 is every rank", .min = -1});
    field("run_folder", self.run_folder, {.help = "run folder, none when empty"});
    field("unused", self.unused, {.help = "a number", .min = 0, .max = 1});
  }
};

lsd::tasks::Outcome end_as(const Config& config, lsd::tasks::Runtime& runtime) {
  if (config.end == "user_error") throw lsd::UserError("the wrong thing was asked for");
  if (config.end == "exception") throw std::runtime_error("a plain exception");
  if (config.end == "internal") lsd::check(false, "two is one");
  if (config.end == "kill") std::raise(SIGKILL);
  if (config.end == "silence") std::this_thread::sleep_for(std::chrono::minutes(1));
  if (config.end == "stopped") return lsd::tasks::Outcome::stopped;
  if (config.end != "wait_for_signal") return lsd::tasks::Outcome::done;
  std::puts("waiting");
  std::fflush(stdout);
  while (!runtime.stop.requested()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return lsd::tasks::Outcome::stopped;
}

lsd::tasks::Outcome task(const Config& config, lsd::tasks::Runtime& runtime) {
  const int rank = runtime.ranks.rank();
  if (!config.run_folder.empty()) {
    if (rank == 0) lsd::RunDir(config.run_folder, "lsd_app_under_test", "", "0");
    runtime.ranks.barrier();
    runtime.run_folder = config.run_folder;
  }
  std::printf("rank %d of %d, backend %s\n", rank, runtime.ranks.size(), std::string(runtime.backend->name()).c_str());
  std::fflush(stdout);
  if (config.failing_rank < 0 || config.failing_rank == rank) return end_as(config, runtime);
  runtime.ranks.barrier();  // the failing rank never comes
  return lsd::tasks::Outcome::done;
}

}  // namespace

int main(int argc, char** argv) {
  return lsd::apps::run_app<Config>(
      {.name = "lsd_app_under_test", .summary = "ends as told", .example = "lsd_app_under_test --end=stopped"}, argc,
      argv, task);
}
