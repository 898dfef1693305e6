// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <string>

#include "lsd/core/host_memory.h"
#include "shard_internal.h"

namespace lsd::tasks::sharding {
std::uint64_t choose_memory_limit(const ShardConfig& config, dist::HostCommunicator& ranks) {
  if (config.memory.limit > 0) return static_cast<std::uint64_t>(config.memory.limit * 0x1p30);
  std::int64_t on_node = ranks.node_rank() + 1;
  ranks.all_reduce_max({&on_node, 1});
  const auto free = available_host_memory();
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
