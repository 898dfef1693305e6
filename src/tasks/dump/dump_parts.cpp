// SPDX-License-Identifier: Apache-2.0
#include "dump_parts_internal.h"

#include <algorithm>
#include <numeric>

namespace lsd::tasks {

std::vector<PartRange> plan_parts(const data::SequenceSource& source, std::int64_t tokens_per_part) {
  std::vector<PartRange> parts = {{}};
  for (std::int64_t record = 0; record < source.size(); ++record) {
    const std::int64_t tokens = source.length(record) + 2;
    if (parts.back().tokens > 0 && parts.back().tokens + tokens > tokens_per_part) {
      parts.push_back({.begin = record, .end = record});
    }
    parts.back().end = record + 1;
    parts.back().tokens += tokens;
  }
  return parts;
}

std::vector<int> assign_parts(const std::vector<PartRange>& parts, const std::vector<bool>& missing, int ranks) {
  std::vector<std::size_t> order(parts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return parts[a].tokens > parts[b].tokens; });
  std::vector<std::int64_t> load(static_cast<std::size_t>(ranks));
  std::vector<int> rank_of(parts.size(), -1);
  for (const auto part : order) {
    if (!missing[part]) continue;
    const auto rank = std::min_element(load.begin(), load.end()) - load.begin();
    rank_of[part] = static_cast<int>(rank);
    load[static_cast<std::size_t>(rank)] += parts[part].tokens;
  }
  return rank_of;
}

std::int64_t bytes_of(const PartRange& part, const io::EmbeddingIdentity& identity) {
  const std::int64_t records = part.end - part.begin, row_bytes = identity.width * identity.element_bytes();
  const std::int64_t rows = identity.kind == io::EmbeddingKind::residues ? part.tokens
                            : identity.kind == io::EmbeddingKind::means  ? records
                                                                         : 0;
  return rows * row_bytes + records * 32 + 16 * identity.width + 8192;
}

}  // namespace lsd::tasks
