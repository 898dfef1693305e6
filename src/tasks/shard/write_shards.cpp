// SPDX-License-Identifier: Apache-2.0
// Shards are written in rounds of one per rank: every rank sends its records of the round's shards to their owners, who
// merge them with their own and write. Beside its records a rank holds about one shard to send and one received.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "lsd/data/shard_set.h"
#include "lsd/io/shard_writer.h"
#include "order_internal.h"

namespace lsd::tasks::sharding {
namespace {

// What one rank sends for one shard, its records in order: counts, then numbers, lengths, id lengths, tokens, ids.
using Message = std::vector<std::byte>;

std::uint64_t message_bytes(const io::ShardSizes& sizes) {
  return sizeof(sizes) + sizes.records * 16 + sizes.residues + sizes.id_bytes;
}

// Cursors into the tables of a message.
struct MessageTables {
  MessageTables(std::byte* message, const io::ShardSizes& sizes)
      : numbers(reinterpret_cast<std::uint64_t*>(message + sizeof(sizes))),
        lengths(reinterpret_cast<std::uint32_t*>(numbers + sizes.records)),
        id_lengths(lengths + sizes.records),
        tokens(reinterpret_cast<std::uint8_t*>(id_lengths + sizes.records)),
        id(reinterpret_cast<char*>(tokens + sizes.residues)) {}
  std::uint64_t* numbers;
  std::uint32_t *lengths, *id_lengths;
  std::uint8_t* tokens;
  char* id;
};

Message pack(std::span<const Entry> entries, const io::ShardSizes& sizes) {
  Message message(message_bytes(sizes));
  std::memcpy(message.data(), &sizes, sizeof(sizes));
  MessageTables tables(message.data(), sizes);
  for (const auto& entry : entries) {
    const auto record = data::RecordStore::at(entry.record);
    *tables.numbers++ = record.number;
    *tables.lengths++ = static_cast<std::uint32_t>(record.tokens.size());
    *tables.id_lengths++ = static_cast<std::uint32_t>(record.id.size());
    tables.tokens = std::copy(record.tokens.begin(), record.tokens.end(), tables.tokens);
    tables.id = std::copy(record.id.begin(), record.id.end(), tables.id);
  }
  return message;
}

struct Arrived {
  std::uint64_t key;
  io::ShardRecord record;
};

void unpack(Message& message, std::uint32_t seed, std::vector<Arrived>& records) {
  io::ShardSizes sizes;
  std::memcpy(&sizes, message.data(), sizeof(sizes));
  MessageTables tables(message.data(), sizes);
  for (std::uint64_t i = 0; i < sizes.records; ++i) {
    const std::uint64_t number = tables.numbers[i];
    const auto length = tables.lengths[i], id_length = tables.id_lengths[i];
    records.push_back({data::shuffle_key(number, seed), {number, {tables.id, id_length}, {tables.tokens, length}}});
    tables.tokens += length;
    tables.id += id_length;
  }
}

io::ShardRecord as_shard_record(const data::StoredRecord& record) {
  return {record.number, record.id, record.tokens};
}

class ShardRounds {
 public:
  ShardRounds(const Job& job, const io::Attempt& attempt, const Order& order)
      : job_(job),
        attempt_(attempt),
        order_(order),
        written_(static_cast<std::size_t>(order.shards_in_all()) * kFields, 0),
        progress_(job.runtime.log, "writing", order.shards_in_all(), "shards") {}

  // False when the run was asked to stop.
  bool run() {
    auto& ranks = job_.runtime.ranks;
    const std::int64_t size = ranks.size();
    for (std::int64_t first = 0; first < order_.shards_in_all(); first += size) {
      std::int64_t stop = job_.runtime.stop.requested() ? 1 : 0;
      ranks.all_reduce_max({&stop, 1});
      if (stop != 0) return false;
      auto arrived = exchange(first);
      together(ranks, [&] {
        const auto shard = first + ranks.rank();
        if (shard >= order_.shards_in_all()) return;
        const WatchScope scope(*job_.runtime.watchdog, "shards", shard + 1);
        write(shard, arrived);
      });
      progress_.update(std::min(first + size, order_.shards_in_all()));
    }
    return true;
  }

  std::vector<io::ManifestSplit> finish() {
    job_.runtime.ranks.all_reduce_sum(std::span(written_));
    std::vector<io::ManifestSplit> splits;
    for (std::size_t split = 0; split < data::kSplits.size(); ++split) {
      splits.push_back({.name = std::string(data::kSplits[split])});
      for (std::int64_t index = 0; index < order_.shards[split]; ++index) {
        const auto* fields = &written_[static_cast<std::size_t>(order_.first_shard(split) + index) * kFields];
        splits.back().shards.push_back({.name = io::shard_name(data::kSplits[split], index, order_.shards[split]),
                                        .records = fields[0],
                                        .residues = fields[1],
                                        .bytes = fields[2],
                                        .checksum = static_cast<std::uint64_t>(fields[3])});
      }
      check(splits.back().records() == order_.records[split], "every record of the split was written once");
    }
    return splits;
  }

 private:
  static constexpr std::size_t kFields = 4;  // records, residues, bytes, checksum of a shard; zero on all ranks but one

  // This rank's own records stay where they are.
  std::vector<Message> exchange(std::int64_t first) {
    auto& ranks = job_.runtime.ranks;
    if (ranks.size() == 1) return {};
    std::vector<Message> outgoing(static_cast<std::size_t>(ranks.size()));
    for (std::size_t owner = 0; owner < outgoing.size(); ++owner) {
      const auto shard = static_cast<std::size_t>(first) + owner;
      if (shard >= order_.own.size() || static_cast<int>(owner) == ranks.rank()) continue;
      if (order_.own[shard].records > 0) outgoing[owner] = pack(order_.of_shard(shard), order_.own[shard]);
    }
    return ranks.all_to_all(outgoing);
  }

  void write(std::int64_t shard, std::vector<Message>& arrived) {
    std::size_t split = 0;
    while (shard >= order_.first_shard(split) + order_.shards[split]) ++split;
    const auto at = static_cast<std::size_t>(shard);
    io::ShardWriter writer(job_.config.output.directory,
                           {.split = std::string(data::kSplits[split]),
                            .index = shard - order_.first_shard(split),
                            .count = order_.shards[split],
                            .fingerprint = job_.fingerprint,
                            .alphabet = data::alphabet_text()},
                           order_.whole[at], attempt_);
    if (job_.runtime.ranks.size() == 1) {
      append_own(order_.of_shard(at), writer);
    } else {
      append_merged(order_.of_shard(at), arrived, writer);
    }
    const auto entry = writer.finish();
    auto* fields = &written_[at * kFields];
    fields[0] = entry.records, fields[1] = entry.residues, fields[2] = entry.bytes;
    fields[3] = static_cast<std::int64_t>(entry.checksum);
  }

  static void append_own(std::span<const Entry> entries, io::ShardWriter& writer) {
    constexpr std::size_t ahead = 12;  // records: long enough for the memory to answer
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i + ahead < entries.size()) data::RecordStore::prefetch(entries[i + ahead].record);
      writer.append(as_shard_record(data::RecordStore::at(entries[i].record)));
    }
  }

  void append_merged(std::span<const Entry> own, std::vector<Message>& messages, io::ShardWriter& writer) const {
    std::vector<Arrived> records;
    for (const auto& entry : own) records.push_back({entry.key, as_shard_record(data::RecordStore::at(entry.record))});
    for (auto& message : messages)
      if (!message.empty()) unpack(message, static_cast<std::uint32_t>(job_.config.split.seed), records);
    std::sort(records.begin(), records.end(), [](const Arrived& a, const Arrived& b) {
      return a.key != b.key ? a.key < b.key : a.record.number < b.record.number;
    });
    for (const auto& arrived : records) writer.append(arrived.record);
  }

  const Job& job_;
  const io::Attempt& attempt_;
  const Order& order_;
  std::vector<std::int64_t> written_;
  Progress progress_;
};

}  // namespace

void check_room(const Job& job, const ReadResult& result, const Order& order) {
  std::uint64_t bytes = 0, largest = 0;
  for (const auto& sizes : order.whole) {
    bytes += message_bytes(sizes) + sizes.records * 8 + 16384;
    largest = std::max(largest, message_bytes(sizes));
  }
  auto& ranks = job.runtime.ranks;
  together(ranks, [&] {
    const auto exchange = ranks.size() > 1 ? 3 * largest : 0;
    check_memory(job, result.store.bytes() + order.entries.size() * sizeof(Entry) + exchange,
                 "putting shards together");
    if (ranks.is_root()) require_free_space(job.config.output.directory, bytes, "the shards");
  });
}

std::optional<std::vector<io::ManifestSplit>> write_shards(const Job& job, const io::Attempt& attempt,
                                                           const Order& order) {
  ShardRounds rounds(job, attempt, order);
  if (!rounds.run()) return std::nullopt;
  return rounds.finish();
}

}  // namespace lsd::tasks::sharding
