// SPDX-License-Identifier: Apache-2.0
// Time of every op at the shapes of the nano and S models, over the case list of the tests. One JSON line per op:
// milliseconds (median), the same in CPU time of all threads (on a busy machine the truer one), and, with
// --threads 1 from the CPU time, else from the first, GFLOP/s of its products and GB/s of its operands' memory counted
// once.
//   ops_bench [--backend cpu] [--threads N] [--type float32] [--size nano|s] [--rows N] [--only PART_OF_A_NAME]
//             [--attention KERNEL,KERNEL]   (cuda: mma, wgmma, wgmma_wide; everything once with each)
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <sstream>
#include <string>
#include <vector>

#include "backends/op_cases.h"
#include "lsd/backends/make_backend.h"
#include "lsd/core/error.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::string backend = "cpu", type = "float32", size = "nano", only, attention;
  int threads = 0;
  long rows = 8192;
};

Options parse(int argc, char** argv) {
  Options options;
  if (argc % 2 == 0)  // --help, or a value forgotten
    throw lsd::UserError(
        "ops_bench [--backend cpu] [--threads N] [--type float32] [--size nano|s] [--rows N] [--only PART_OF_A_NAME] "
        "[--attention mma,wgmma,wgmma_wide]");
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i], value = argv[i + 1];
    if (key == "--backend")
      options.backend = value;
    else if (key == "--type")
      options.type = value;
    else if (key == "--size")
      options.size = value;
    else if (key == "--only")
      options.only = value;
    else if (key == "--attention")
      options.attention = value;
    else if (key == "--threads")
      options.threads = std::stoi(value);
    else if (key == "--rows")
      options.rows = std::stol(value);
    else
      throw lsd::UserError("unknown option " + key);
  }
  return options;
}

// Lengths like UniRef50's: log-normal, median 230, at most 1024.
lsd::testing::CaseSizes sizes_of(const Options& options) {
  lsd::testing::CaseSizes sizes{.label = options.size, .width = 128, .heads = 4, .inner = 512};
  if (options.size == "s") sizes.width = 512, sizes.heads = 8, sizes.inner = 2048;
  long used = 0;
  for (std::uint32_t i = 0; used < options.rows; ++i) {
    const auto words = lsd::random_words({1, 2}, i, 0);
    const double normal = std::sqrt(-2.0 * std::log(lsd::uniform_from_word(words.word[0]))) *
                          std::cos(6.283185307179586 * lsd::uniform_from_word(words.word[1]));
    const long length = std::clamp(static_cast<long>(230.0 * std::exp(0.7 * normal)), 20L, 1024L);
    sizes.lengths.push_back(static_cast<int>(std::min(length, options.rows - used)));
    used += sizes.lengths.back();
  }
  return sizes;
}

struct Times {
  double wall, cpu;  // seconds, medians
};

double median(std::vector<double>& times) {
  std::nth_element(times.begin(), times.begin() + static_cast<long>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

Times measure(lsd::Backend& backend, const std::function<void()>& run) {
  std::vector<double> times, cpu;
  const auto begin = Clock::now();
  while (times.size() < 5 || (Clock::now() - begin < std::chrono::milliseconds(300) && times.size() < 200)) {
    const auto start = Clock::now();
    const auto cpu_start = std::clock();
    run();
    backend.synchronize();
    times.push_back(std::chrono::duration<double>(Clock::now() - start).count());
    cpu.push_back(static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC);
  }
  return {median(times), median(cpu)};
}

void bench(const Options& options, const std::string& attention) {
  const auto backend =
      lsd::backends::make_backend(options.backend, {.threads = options.threads, .attention = attention});
  const auto type = lsd::dtype_from_name(options.type);
  fmt::print("{{\"backend\":\"{}\",\"device\":\"{}\",\"attention\":\"{}\"}}\n", backend->name(), backend->description(),
             attention);
  for (const auto& op_case : lsd::testing::op_cases(sizes_of(options))) {
    if (op_case.name.find(options.only) == std::string::npos) continue;
    lsd::testing::Operands operands(*backend, type, 1);
    const auto run = op_case.make(operands);
    lsd::testing::plan_and_run(*backend, run);
    const auto [wall, cpu] = measure(*backend, run);
    const double seconds = std::max(options.threads == 1 ? cpu : wall, 1e-9);
    fmt::print(
        "{{\"op\":\"{}\",\"size\":\"{}\",\"type\":\"{}\",\"rows\":{},\"ms\":{:.4f},\"cpu_ms\":{:.4f},\"gflops\":{:.1f},"
        "\"gbs\":{:.1f}}}\n",
        op_case.name, options.size, options.type, options.rows, wall * 1e3, cpu * 1e3, operands.flops / seconds * 1e-9,
        static_cast<double>(operands.total_bytes()) / seconds * 1e-9);
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto options = parse(argc, argv);
    std::istringstream kernels(options.attention);
    std::string kernel;
    do {
      std::getline(kernels, kernel, ',');
      bench(options, kernel);
    } while (!kernels.eof() && !kernel.empty());
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "ops_bench: {}\n", error.what());
    return 1;
  }
}
