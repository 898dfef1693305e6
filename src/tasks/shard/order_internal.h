// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where this rank's records go: by shard, and within a shard by key.

#include <array>
#include <span>
#include <vector>

#include "lsd/io/shard_writer.h"
#include "shard_internal.h"

namespace lsd::tasks::sharding {

struct Entry {
  std::uint64_t key = 0;
  data::RecordStore::Handle record = nullptr;
};

struct Order {
  std::array<std::int64_t, data::kSplits.size()> records{};  // of all ranks, by split
  std::array<std::int64_t, data::kSplits.size()> shards{};
  std::vector<Entry> entries;             // this rank's, in the order (split, shard, key, number)
  std::vector<std::size_t> shard_starts;  // into entries, split after split; and the end
  std::vector<io::ShardSizes> own;        // [shards] what this rank holds of each
  std::vector<io::ShardSizes> whole;      // [shards] over all ranks

  std::int64_t shards_in_all() const { return shards[0] + shards[1] + shards[2]; }
  std::int64_t first_shard(std::size_t split) const {
    std::int64_t first = 0;
    for (std::size_t i = 0; i < split; ++i) first += shards[i];
    return first;
  }
  std::span<const Entry> of_shard(std::size_t shard) const {
    return std::span(entries).subspan(shard_starts[shard], shard_starts[shard + 1] - shard_starts[shard]);
  }
};

// Collective. Empties `result.records`.
Order order_records(const Job& job, ReadResult& result);
// Collective. Throws unless memory and disk suffice for the shards; nothing has been written so far.
void check_room(const Job& job, const ReadResult& result, const Order& order);
// Collective. Empty when the run was asked to stop. The records that `order` points at must live.
std::optional<std::vector<io::ManifestSplit>> write_shards(const Job& job, const io::Attempt& attempt,
                                                           const Order& order);

}  // namespace lsd::tasks::sharding
