// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <span>

#include "probe_estimate_internal.h"

namespace lsd::tasks {
namespace {

std::int64_t columns_of(const ProbeResult& result) {
  return result.width * (result.pairs ? 2 : 1);
}

std::int64_t weights_of(const ProbeResult& result, const ProbeHeadConfig& head) {
  const std::int64_t outputs = result.kind == "regression" ? 1 : result.classes;
  if (result.head == "linear") return columns_of(result) * outputs;
  return head.hidden * (columns_of(result) + outputs);
}

}  // namespace

double head_operations(const ProbeResult& result, const ProbeHeadConfig& head) {
  const double per_epoch = 6.0 * static_cast<double>(result.train_rows) + 2.0 * static_cast<double>(result.valid_rows);
  return per_epoch * static_cast<double>(weights_of(result, head)) * static_cast<double>(head.epochs);
}

WorkEstimate estimate_heads(const std::vector<ProbeResult>& missing, const ProbeHeadConfig& head, std::size_t sequences,
                            dist::HostCommunicator& ranks) {
  double work = 0.0;
  std::int64_t bytes = 0;
  for (const auto& result : missing) {
    work += head_operations(result, head);
    const auto rows = result.train_rows + result.valid_rows + result.test_rows;
    const auto features = static_cast<std::int64_t>(sequences) * result.width + rows * columns_of(result);
    bytes = std::max(bytes, features * static_cast<std::int64_t>(sizeof(float)));
  }
  std::int64_t most_work = static_cast<std::int64_t>(work), files = static_cast<std::int64_t>(missing.size());
  ranks.all_reduce_max(std::span(&most_work, 1));
  ranks.all_reduce_max(std::span(&bytes, 1));
  ranks.all_reduce_sum(std::span(&files, 1));
  return {.memory_bytes = static_cast<double>(bytes),
          .memory_of = "features",
          .disk_bytes = 4096.0 * static_cast<double>(files),
          .work = static_cast<double>(most_work),
          .unit = "operations",
          .time_of = "all epochs of all heads"};
}

}  // namespace lsd::tasks
