// SPDX-License-Identifier: Apache-2.0
// Shards are written in rounds of one per rank: every rank sends the records that belong to the shards of the round to
// their owners, who put them in order and write. So a rank holds two copies of one shard beside its own records.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "lsd/data/shard_set.h"
#include "lsd/io/shard_writer.h"
#include "shard_internal.h"

namespace lsd::tasks::sharding {
namespace {

constexpr std::uint64_t kBytesPerRecord = 3 * sizeof(std::uint64_t);  // offsets, id offsets, number

struct Plan {
  std::array<std::int64_t, data::kSplits.size()> records{};  // of all ranks
  std::array<std::int64_t, data::kSplits.size()> shards{};
  std::vector<std::size_t> group_starts;  // entries of this rank by shard, split after split; and the end

  std::int64_t shards_in_all() const { return shards[0] + shards[1] + shards[2]; }
  std::int64_t first_shard(std::size_t split) const {
    std::int64_t first = 0;
    for (std::size_t i = 0; i < split; ++i) first += shards[i];
    return first;
  }
};

// Gives every record its key and brings the entries into the order (shard, key). Changes `result.entries`.
Plan place_records(const Job& job, ReadResult& result) {
  const auto& config = job.config;
  const auto seed = static_cast<std::uint32_t>(config.split.seed);
  Plan plan;
  std::vector<std::uint8_t> split_of(result.entries.size());
  for (std::size_t i = 0; i < result.entries.size(); ++i) {
    auto& entry = result.entries[i];
    entry.key = data::shuffle_key(entry.number, seed);
    const auto id = data::RecordStore::at(entry.record).id;
    split_of[i] = static_cast<std::uint8_t>(data::split_of_id(id, seed, {config.split.valid, config.split.test}));
    ++plan.records[split_of[i]];
  }
  job.runtime.ranks.all_reduce_sum(std::span(plan.records));
  for (std::size_t split = 0; split < plan.shards.size(); ++split)
    plan.shards[split] = (plan.records[split] + config.shards.records - 1) / config.shards.records;
  const auto group_of = [&](std::size_t i) {
    const auto split = split_of[i];
    return static_cast<std::size_t>(plan.first_shard(split) +
                                    data::shard_of_key(result.entries[i].key, plan.shards[split]));
  };
  plan.group_starts.assign(static_cast<std::size_t>(plan.shards_in_all()) + 1, 0);
  for (std::size_t i = 0; i < result.entries.size(); ++i) ++plan.group_starts[group_of(i) + 1];
  for (std::size_t g = 1; g < plan.group_starts.size(); ++g) plan.group_starts[g] += plan.group_starts[g - 1];
  auto next = plan.group_starts;
  std::vector<Entry> sorted(result.entries.size());
  for (std::size_t i = 0; i < result.entries.size(); ++i) sorted[next[group_of(i)]++] = result.entries[i];
  result.entries = std::move(sorted);
  return plan;
}

// What one rank contributes to one shard, its records in key order: counts, then the tables one behind the other.
struct Piece {
  struct Head {
    std::uint64_t records = 0, tokens = 0, id_bytes = 0;
  };
  Head head;
  std::span<const std::uint64_t> numbers;
  std::span<const std::uint32_t> lengths, id_lengths;
  std::span<const std::uint8_t> tokens, ids;
};

template <class T>
std::span<T> take_table(std::byte*& at, std::uint64_t size) {
  auto* begin = reinterpret_cast<T*>(at);
  at += (size * sizeof(T) + 7) / 8 * 8;
  return {begin, size};
}

std::vector<std::byte> pack_piece(std::span<Entry> entries) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return std::pair(a.key, a.number) < std::pair(b.key, b.number); });
  Piece::Head head{.records = entries.size()};
  for (const auto& entry : entries) {
    const auto record = data::RecordStore::at(entry.record);
    head.tokens += record.tokens.size();
    head.id_bytes += record.id.size();
  }
  std::vector<std::byte> bytes(sizeof(head) + head.records * 16 + 8 + (head.tokens + 7) / 8 * 8 +
                               (head.id_bytes + 7) / 8 * 8);
  std::memcpy(bytes.data(), &head, sizeof(head));
  auto* at = bytes.data() + sizeof(head);
  const auto numbers = take_table<std::uint64_t>(at, head.records);
  const auto lengths = take_table<std::uint32_t>(at, head.records);
  const auto id_lengths = take_table<std::uint32_t>(at, head.records);
  auto* tokens = take_table<std::uint8_t>(at, head.tokens).data();
  auto* ids = take_table<std::uint8_t>(at, head.id_bytes).data();
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto record = data::RecordStore::at(entries[i].record);
    numbers[i] = entries[i].number;
    lengths[i] = static_cast<std::uint32_t>(record.tokens.size());
    id_lengths[i] = static_cast<std::uint32_t>(record.id.size());
    std::memcpy(tokens, record.tokens.data(), record.tokens.size());
    std::memcpy(ids, record.id.data(), record.id.size());
    tokens += record.tokens.size();
    ids += record.id.size();
  }
  return bytes;
}

Piece unpack_piece(std::vector<std::byte>& bytes) {
  Piece piece;
  std::memcpy(&piece.head, bytes.data(), sizeof(piece.head));
  auto* at = bytes.data() + sizeof(piece.head);
  piece.numbers = take_table<std::uint64_t>(at, piece.head.records);
  piece.lengths = take_table<std::uint32_t>(at, piece.head.records);
  piece.id_lengths = take_table<std::uint32_t>(at, piece.head.records);
  piece.tokens = take_table<std::uint8_t>(at, piece.head.tokens);
  piece.ids = take_table<std::uint8_t>(at, piece.head.id_bytes);
  return piece;
}

// One shard's tables, in order. With one piece its tokens and ids are used where they lie.
struct Tables {
  std::vector<std::uint64_t> offsets, id_offsets, numbers;
  std::vector<std::uint8_t> token_storage, id_storage;
  std::span<const std::uint8_t> tokens, ids;

  io::ShardContent content() const {
    return {.tokens = tokens, .offsets = offsets, .record_numbers = numbers, .id_bytes = ids, .id_offsets = id_offsets};
  }
  void add(std::uint64_t number, std::uint64_t length, std::uint64_t id_length) {
    numbers.push_back(number);
    offsets.push_back(offsets.back() + length);
    id_offsets.push_back(id_offsets.back() + id_length);
  }
};

Tables tables_of_one(const Piece& piece) {
  Tables tables{.offsets = {0}, .id_offsets = {0}, .tokens = piece.tokens, .ids = piece.ids};
  for (std::size_t i = 0; i < piece.head.records; ++i)
    tables.add(piece.numbers[i], piece.lengths[i], piece.id_lengths[i]);
  return tables;
}

// Pieces are in key order each; the keys follow from the numbers.
Tables merge(const std::vector<Piece>& pieces, std::uint32_t seed) {
  struct Source {
    std::uint64_t key, number;
    const std::uint8_t *tokens, *id;
    std::uint32_t length, id_length;
  };
  std::vector<Source> order;
  Tables tables{.offsets = {0}, .id_offsets = {0}};
  std::uint64_t all_tokens = 0, all_ids = 0;
  for (const auto& piece : pieces) {
    const auto *tokens = piece.tokens.data(), *id = piece.ids.data();
    for (std::size_t i = 0; i < piece.head.records; ++i) {
      order.push_back({data::shuffle_key(piece.numbers[i], seed), piece.numbers[i], tokens, id, piece.lengths[i],
                       piece.id_lengths[i]});
      tokens += piece.lengths[i];
      id += piece.id_lengths[i];
    }
    all_tokens += piece.head.tokens;
    all_ids += piece.head.id_bytes;
  }
  std::sort(order.begin(), order.end(),
            [](const Source& a, const Source& b) { return std::pair(a.key, a.number) < std::pair(b.key, b.number); });
  tables.token_storage.reserve(all_tokens);
  tables.id_storage.reserve(all_ids);
  for (const auto& source : order) {
    tables.add(source.number, source.length, source.id_length);
    tables.token_storage.insert(tables.token_storage.end(), source.tokens, source.tokens + source.length);
    tables.id_storage.insert(tables.id_storage.end(), source.id, source.id + source.id_length);
  }
  tables.tokens = tables.token_storage;
  tables.ids = tables.id_storage;
  return tables;
}

class ShardRounds {
 public:
  ShardRounds(const Job& job, ReadResult& result, const Plan& plan)
      : job_(job),
        result_(result),
        plan_(plan),
        written_(static_cast<std::size_t>(plan.shards_in_all()) * kFields, 0),
        progress_(job.runtime.log, "writing", plan.records[0] + plan.records[1] + plan.records[2], "records") {}

  // False when the run was asked to stop.
  bool run() {
    auto& ranks = job_.runtime.ranks;
    const auto size = static_cast<std::int64_t>(ranks.size());
    for (std::int64_t first = 0; first < plan_.shards_in_all(); first += size) {
      std::int64_t stop = job_.runtime.stop.requested() ? 1 : 0;
      ranks.all_reduce_max({&stop, 1});
      if (stop != 0) return false;
      auto arrived = send_round(first);
      together(ranks, [&] {
        if (first + ranks.rank() < plan_.shards_in_all()) write(first + ranks.rank(), arrived);
      });
    }
    return true;
  }

  std::vector<io::ManifestSplit> finish() {
    job_.runtime.ranks.all_reduce_sum(std::span(written_));
    std::vector<io::ManifestSplit> splits;
    for (std::size_t split = 0; split < data::kSplits.size(); ++split) {
      splits.push_back({.name = std::string(data::kSplits[split])});
      for (std::int64_t index = 0; index < plan_.shards[split]; ++index) {
        const auto* fields = &written_[static_cast<std::size_t>(plan_.first_shard(split) + index) * kFields];
        splits.back().shards.push_back({.name = io::shard_name(data::kSplits[split], index, plan_.shards[split]),
                                        .records = fields[0],
                                        .residues = fields[1],
                                        .bytes = fields[2],
                                        .checksum = static_cast<std::uint64_t>(fields[3])});
      }
      check(splits.back().records() == plan_.records[split], "every record of the split was written once");
    }
    return splits;
  }

 private:
  static constexpr std::size_t kFields = 4;  // records, residues, bytes, checksum of a shard; zero on all ranks but one

  std::vector<std::vector<std::byte>> send_round(std::int64_t first) {
    const auto size = static_cast<std::size_t>(job_.runtime.ranks.size());
    std::vector<std::vector<std::byte>> outgoing(size);
    for (std::size_t owner = 0; owner < size; ++owner) {
      const auto shard = static_cast<std::size_t>(first) + owner;
      if (shard + 1 >= plan_.group_starts.size()) break;
      const auto begin = plan_.group_starts[shard], end = plan_.group_starts[shard + 1];
      if (begin != end) outgoing[owner] = pack_piece(std::span(result_.entries).subspan(begin, end - begin));
    }
    if (size == 1) return outgoing;
    return job_.runtime.ranks.all_to_all(outgoing);
  }

  void write(std::int64_t shard, std::vector<std::vector<std::byte>>& arrived) {
    std::size_t split = 0;
    while (shard >= plan_.first_shard(split) + plan_.shards[split]) ++split;
    std::vector<Piece> pieces;
    for (auto& bytes : arrived)
      if (!bytes.empty()) pieces.push_back(unpack_piece(bytes));
    const auto tables = pieces.size() == 1 ? tables_of_one(pieces[0])
                                           : merge(pieces, static_cast<std::uint32_t>(job_.config.split.seed));
    const auto entry = io::write_shard(job_.config.output.folder,
                                       {.split = std::string(data::kSplits[split]),
                                        .index = shard - plan_.first_shard(split),
                                        .count = plan_.shards[split],
                                        .fingerprint = job_.fingerprint,
                                        .alphabet = data::alphabet_text()},
                                       tables.content());
    auto* fields = &written_[static_cast<std::size_t>(shard) * kFields];
    fields[0] = entry.records, fields[1] = entry.residues, fields[2] = entry.bytes;
    fields[3] = static_cast<std::int64_t>(entry.checksum);
    done_ += entry.records * job_.runtime.ranks.size();  // the other ranks write as much, give or take
    progress_.update(std::min(done_, plan_.records[0] + plan_.records[1] + plan_.records[2]));
  }

  const Job& job_;
  ReadResult& result_;
  const Plan& plan_;
  std::vector<std::int64_t> written_;
  Progress progress_;
  std::int64_t done_ = 0;
};

void check_room(const Job& job, const ReadResult& result, const Plan& plan) {
  std::int64_t bytes = 0;
  for (const auto& entry : result.entries) {
    const auto record = data::RecordStore::at(entry.record);
    bytes += static_cast<std::int64_t>(record.tokens.size() + record.id.size() + kBytesPerRecord);
  }
  job.runtime.ranks.all_reduce_sum({&bytes, 1});
  const auto shards = std::max<std::int64_t>(1, plan.shards_in_all());
  const auto largest = static_cast<std::uint64_t>(bytes) / static_cast<std::uint64_t>(shards) * 5 / 4;
  together(job.runtime.ranks, [&] {
    check_memory(job, result.store.bytes() + result.entries.size() * 2 * sizeof(Entry) + 3 * largest,
                 "putting shards together");
    if (!job.runtime.ranks.is_root()) return;
    require_free_space(job.config.output.folder, static_cast<std::uint64_t>(bytes + shards * 16384), "the shards");
  });
}

}  // namespace

std::optional<std::vector<io::ManifestSplit>> write_shards(const Job& job, ReadResult& result) {
  const auto plan = place_records(job, result);
  check_room(job, result, plan);
  ShardRounds rounds(job, result, plan);
  if (!rounds.run()) return std::nullopt;
  return rounds.finish();
}

}  // namespace lsd::tasks::sharding
