// SPDX-License-Identifier: Apache-2.0
#include "startup_internal.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>

#include "lsd/core/atomic_file.h"
#include "lsd/core/build_info.h"
#include "lsd/core/error.h"

namespace lsd::apps {
namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string text_of(const std::vector<std::byte>& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

int cores_of_this_process() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace

void together(dist::HostCommunicator& ranks, const std::function<void()>& body) {
  std::string problem;
  try {
    body();
  } catch (const std::exception& error) {
    problem = error.what();
    if (problem.empty()) problem = "unknown error";
  }
  const auto problems = ranks.all_gather(bytes_of(problem));
  const auto first = std::ranges::find_if(problems, [](const auto& bytes) { return !bytes.empty(); });
  if (first == problems.end()) return;
  throw StartupError(text_of(*first), first - problems.begin() == ranks.rank());
}

ConfigSchema::ReadText read_on_root(dist::HostCommunicator& ranks) {
  return [&ranks](const std::filesystem::path& path) {
    std::string answer;  // 'T' and the text, or 'E' and the error
    if (ranks.is_root()) {
      try {
        answer = "T" + read_text_file(path);
      } catch (const Error& error) {
        answer = std::string("E") + error.what();
      }
    }
    answer = ranks.broadcast_text(answer);
    if (answer.starts_with('E')) throw DataError(answer.substr(1));
    return answer.substr(1);
  };
}

void require_same_options(dist::HostCommunicator& ranks, const std::string& options) {
  if (ranks.broadcast_text(options) != options)
    throw UserError(fmt::format("rank {} was started with other options than rank 0", ranks.rank()));
}

// Ranks that share unbound cores share them out; a rank that its launcher bound to some cores uses those.
backends::BackendOptions backend_options(const CommandLine& line, dist::HostCommunicator& ranks) {
  std::int64_t last_node_rank = ranks.node_rank();
  ranks.all_reduce_max(std::span(&last_node_rank, 1));
  const int cores = cores_of_this_process();
  const bool bound = cores < ::sysconf(_SC_NPROCESSORS_ONLN);
  const int share = bound ? cores : std::max(1, cores / static_cast<int>(last_node_rank + 1));
  return {.threads = line.threads > 0 ? static_cast<int>(line.threads) : share,
          .device = line.device >= 0 ? static_cast<int>(line.device) : ranks.node_rank(),
          .deterministic = line.deterministic};
}

std::string help_text(const AppInfo& info, const ConfigSchema& schema) {
  return fmt::format(
      "{0}\n  {1}\n\nUsage:\n  {5}{0} [--config FILE]... [--section.key=value]...\n\nExample:\n  "
      "{2}\n{3}{4}"
      "\nExit codes: {6} done, {7}{8} failed.\n",
      info.name, wrapped_text(info.summary, 2), info.example, command_line_help(info.needs_backend), schema.help(),
      info.uses_ranks ? "[mpirun -n RANKS] " : "", kExitDone,
      info.uses_ranks ? fmt::format("{} stopped early (the same command goes on from there), ", kExitStopped) : "",
      kExitFailed);
}

std::string version_text(const AppInfo& info) {
  return fmt::format("{} {} (git {})\nbuilt by {}, with {}; CUDA backend: {}\n", info.name, version(), git_revision(),
                     compiler(), libraries(), backends::cuda_built() ? "yes" : "no");
}

}  // namespace lsd::apps
