// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>

#include "shard_internal.h"

namespace lsd::tasks::sharding {
namespace {

std::uint64_t available_on_machine() {
  std::ifstream file("/proc/meminfo");
  std::string word;
  std::uint64_t kib = 0;
  while (file >> word) {
    if (word == "MemAvailable:" && file >> kib) return kib << 10U;
  }
  return std::numeric_limits<std::uint64_t>::max();
}

// A container's or a job's own limit (version 2 of the control groups); no limit where there is none.
std::uint64_t available_in_group() {
  const auto read_number = [](const char* path) {
    std::ifstream file(path);
    std::uint64_t value = 0;
    return file >> value ? value : std::numeric_limits<std::uint64_t>::max();
  };
  const auto limit = read_number("/sys/fs/cgroup/memory.max");
  const auto used = read_number("/sys/fs/cgroup/memory.current");
  if (limit == std::numeric_limits<std::uint64_t>::max() || used >= limit) return limit;
  return limit - used;
}

}  // namespace

std::uint64_t choose_memory_limit(const ShardConfig& config, dist::HostCommunicator& ranks) {
  if (config.memory.limit > 0) return static_cast<std::uint64_t>(config.memory.limit * 0x1p30);
  std::int64_t on_node = ranks.node_rank() + 1;
  ranks.all_reduce_max({&on_node, 1});
  const auto free = std::min(available_on_machine(), available_in_group());
  return free / 5 * 4 / static_cast<std::uint64_t>(on_node);
}

void check_memory(const Job& job, std::uint64_t bytes, std::string_view what) {
  if (bytes <= job.memory_limit) return;
  throw UserError(
      fmt::format("{} takes {} on a rank, more than the limit of {}: use more ranks on more machines, a stricter "
                  "length filter, fewer records in a shard, or raise --memory.limit if the machine has the memory",
                  what, human_bytes(static_cast<double>(bytes)), human_bytes(static_cast<double>(job.memory_limit))));
}

}  // namespace lsd::tasks::sharding
