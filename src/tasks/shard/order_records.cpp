// SPDX-License-Identifier: Apache-2.0
// One pass gives every record its key and split, a counting sort brings the records into groups of a few hundred by
// (shard, leading part of the key), and each group is sorted within the cache. Keys are uniform, so groups are of like
// size.
#include <algorithm>

#include "order_internal.h"

namespace lsd::tasks::sharding {
namespace {

constexpr std::int64_t kRecordsPerGroup = 512;

struct Keyed {
  std::vector<Entry> entries;  // in the order of record numbers
  std::vector<std::uint8_t> splits;
};

Keyed give_keys(const ShardConfig& config, const ReadResult& result, Order& order) {
  const auto seed = static_cast<std::uint32_t>(config.split.seed);
  Keyed keyed;
  keyed.entries.reserve(result.records.size());
  keyed.splits.reserve(result.records.size());
  for (std::size_t i = 0; i < result.records.size(); ++i) {
    if (i + 8 < result.records.size()) data::RecordStore::prefetch(result.records[i + 8]);
    const auto record = data::RecordStore::at(result.records[i]);
    const auto split = data::split_of_id(record.id, seed, {config.split.valid, config.split.test});
    keyed.entries.push_back({data::shuffle_key(record.number, seed), result.records[i]});
    keyed.splits.push_back(static_cast<std::uint8_t>(split));
    ++order.records[static_cast<std::size_t>(split)];
  }
  return keyed;
}

// Places of the groups: `fine` of them in every shard.
class Groups {
 public:
  Groups(const Order& order, std::int64_t fine) : order_(order), fine_(fine) {
    for (std::size_t split = 0; split < first_.size(); ++split) first_[split] = order.first_shard(split) * fine;
  }
  std::size_t of(std::uint64_t key, std::uint8_t split) const {
    return static_cast<std::size_t>(first_[split] + data::shard_of_key(key, order_.shards[split] * fine_));
  }
  std::size_t count() const { return static_cast<std::size_t>(order_.shards_in_all() * fine_); }
  std::size_t fine() const { return static_cast<std::size_t>(fine_); }

 private:
  const Order& order_;
  std::int64_t fine_;
  std::array<std::int64_t, data::kSplits.size()> first_{};
};

void sort_groups(const Keyed& keyed, const Groups& groups, Order& order) {
  std::vector<std::size_t> starts(groups.count() + 1, 0);
  for (std::size_t i = 0; i < keyed.entries.size(); ++i) ++starts[groups.of(keyed.entries[i].key, keyed.splits[i]) + 1];
  for (std::size_t group = 1; group < starts.size(); ++group) starts[group] += starts[group - 1];
  order.entries.resize(keyed.entries.size());
  auto next = starts;
  for (std::size_t i = 0; i < keyed.entries.size(); ++i)
    order.entries[next[groups.of(keyed.entries[i].key, keyed.splits[i])]++] = keyed.entries[i];
  const auto number = [](const Entry& entry) { return data::RecordStore::at(entry.record).number; };
  for (std::size_t group = 0; group < groups.count(); ++group) {
    std::sort(order.entries.begin() + static_cast<std::ptrdiff_t>(starts[group]),
              order.entries.begin() + static_cast<std::ptrdiff_t>(starts[group + 1]),
              [&](const Entry& a, const Entry& b) { return a.key != b.key ? a.key < b.key : number(a) < number(b); });
  }
  for (std::size_t group = 0; group <= groups.count(); group += groups.fine())
    order.shard_starts.push_back(starts[group]);
}

void add_sizes(const Job& job, const Keyed& keyed, const Groups& shards, Order& order) {
  order.own.resize(shards.count());
  for (std::size_t i = 0; i < keyed.entries.size(); ++i) {
    if (i + 8 < keyed.entries.size()) data::RecordStore::prefetch(keyed.entries[i + 8].record);
    const auto record = data::RecordStore::at(keyed.entries[i].record);
    auto& sizes = order.own[shards.of(keyed.entries[i].key, keyed.splits[i])];
    ++sizes.records;
    sizes.residues += record.tokens.size();
    sizes.id_bytes += record.id.size();
  }
  std::vector<std::int64_t> sums;
  for (const auto& sizes : order.own)
    for (const auto value : {sizes.records, sizes.residues, sizes.id_bytes})
      sums.push_back(static_cast<std::int64_t>(value));
  job.runtime.ranks.all_reduce_sum(std::span(sums));
  for (std::size_t i = 0; i < sums.size(); i += 3) {
    order.whole.push_back({.records = static_cast<std::uint64_t>(sums[i]),
                           .residues = static_cast<std::uint64_t>(sums[i + 1]),
                           .id_bytes = static_cast<std::uint64_t>(sums[i + 2])});
  }
}

}  // namespace

Order order_records(const Job& job, ReadResult& result) {
  Order order;
  const auto keyed = give_keys(job.config, result, order);
  result.records = {};
  job.runtime.ranks.all_reduce_sum(std::span(order.records));
  for (std::size_t split = 0; split < order.shards.size(); ++split)
    order.shards[split] = (order.records[split] + job.config.shards.records - 1) / job.config.shards.records;
  add_sizes(job, keyed, Groups(order, 1), order);
  sort_groups(keyed, Groups(order, 1 + job.config.shards.records / kRecordsPerGroup), order);
  return order;
}

}  // namespace lsd::tasks::sharding
