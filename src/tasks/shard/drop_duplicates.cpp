// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>

#include "lsd/core/error.h"
#include "shard_internal.h"

namespace lsd::tasks::sharding {
namespace {

struct Key {
  data::Digest digest;
  std::uint64_t number;
};

struct Repeat {
  std::uint64_t number;
  std::uint64_t first;  // the record it repeats
  friend auto operator<=>(const Repeat&, const Repeat&) = default;
};

template <class T>
void append(std::vector<std::byte>& bytes, const T& value) {
  const auto* begin = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), begin, begin + sizeof(T));
}

template <class T>
void for_each_in(const std::vector<std::vector<std::byte>>& messages, const std::function<void(const T&)>& use) {
  for (const auto& message : messages) {
    for (std::size_t at = 0; at < message.size(); at += sizeof(T)) {
      T value;
      std::memcpy(&value, message.data() + at, sizeof(T));
      use(value);
    }
  }
}

std::size_t part_of(const ReadResult& result, std::uint64_t number) {
  const auto& starts = result.part_starts;
  // The last part that starts at or before the number; parts without records share their start with the next one.
  return static_cast<std::size_t>(
      std::upper_bound(starts.begin(), starts.end() - 1, static_cast<std::int64_t>(number)) - starts.begin() - 1);
}

using DigestOf = data::Digest (*)(const data::StoredRecord&);

// The repeats among this rank's records, by number. Equal digests meet on one rank, chosen by the digest.
std::vector<Repeat> find_repeats(const Job& job, const ReadResult& result, DigestOf digest_of) {
  auto& ranks = job.runtime.ranks;
  const auto size = static_cast<std::size_t>(ranks.size()), self = static_cast<std::size_t>(ranks.rank());
  auto in_all = static_cast<std::int64_t>(result.records.size());
  ranks.all_reduce_sum({&in_all, 1});
  together(ranks, [&] {
    // What is sent, with room to grow; then this rank's share of all: received, and kept with room to grow.
    const auto keys = size > 1 ? 2 * result.records.size() + 3 * (static_cast<std::size_t>(in_all) / size + 1)
                               : 2 * result.records.size();
    const auto digests = keys * sizeof(Key);
    check_memory(job, result.store.bytes() + result.records.capacity() * sizeof(result.records[0]) + digests,
                 "looking for duplicates");
  });
  const auto finder = data::make_memory_duplicate_finder();
  std::vector<std::vector<std::byte>> outgoing(size), answers(size);
  for (const auto* handle : result.records) {
    const auto record = data::RecordStore::at(handle);
    const auto digest = digest_of(record);
    const auto owner = static_cast<std::size_t>(digest.low % size);
    if (owner == self) {
      finder->add(digest, record.number);
    } else {
      append(outgoing[owner], Key{digest, record.number});
    }
  }
  for_each_in<Key>(ranks.all_to_all(outgoing), [&](const Key& key) { finder->add(key.digest, key.number); });
  outgoing.clear();
  finder->finish([&](std::uint64_t repeat, std::uint64_t first) {
    const auto rank = job.parts[part_of(result, repeat)].rank;
    append(answers[static_cast<std::size_t>(rank)], Repeat{repeat, first});
  });
  std::vector<Repeat> repeats;
  for_each_in<Repeat>(ranks.all_to_all(answers), [&](const Repeat& repeat) { repeats.push_back(repeat); });
  std::sort(repeats.begin(), repeats.end());
  return repeats;
}

void drop_repeats(const Job& job, ReadResult& result, const std::vector<Repeat>& repeats, data::Drop why) {
  if (repeats.empty()) return;
  auto next = repeats.begin();
  std::erase_if(result.records, [&](const std::byte* handle) {
    const auto record = data::RecordStore::at(handle);
    if (next == repeats.end() || next->number != record.number) return false;
    ++next;
    const auto file = job.parts[part_of(result, record.number)].file;
    result.tallies[file].change_fate(why, static_cast<std::int64_t>(record.tokens.size()));
    return true;
  });
  check(next == repeats.end(), "every repeated record was found again on its rank");
}

// "a.fasta, record 12 ('P1'), line 96". Looks through the file again for the line: this happens once, on the way out.
// A stream cannot be read again: its records are looked up among those in memory, and have no line.
std::string place_of(const Job& job, const ReadResult& result, std::uint64_t number) {
  const auto part = part_of(result, number);
  const auto file = job.parts[part].file;
  auto first_part = part;
  while (first_part > 0 && job.parts[first_part - 1].file == file) --first_part;
  const auto in_file = static_cast<std::int64_t>(number) - result.part_starts[first_part] + 1;
  const auto& path = job.config.input.files[file];
  if (job.files[file].is_stream()) {
    const auto found = std::find_if(result.records.begin(), result.records.end(), [&](const std::byte* handle) {
      return data::RecordStore::at(handle).number == number;
    });
    const auto id =
        found == result.records.end() ? std::string() : fmt::format(" ('{}')", data::RecordStore::at(*found).id);
    return fmt::format("{}, record {}{}", path == "-" ? "<standard input>" : path, in_file, id);
  }
  data::FastaReader reader(path);
  data::FastaRecord record;
  while (reader.next(record) && record.number < in_file) {
  }
  return reader.place(record);
}

}  // namespace

void drop_duplicate_ids(const Job& job, ReadResult& result) {
  const auto& policy = job.config.records.duplicate_ids;
  if (policy == "keep") return;
  const auto repeats =
      find_repeats(job, result, [](const data::StoredRecord& record) { return data::digest_of(record.id); });
  together(job.runtime.ranks, [&] {
    if (policy != "reject" || repeats.empty()) return;
    throw DataError(
        fmt::format("{}: the same id as {}; ids must differ: mend the file (was it given twice?), or choose "
                    "--records.duplicate_ids=drop_record or keep",
                    place_of(job, result, repeats.front().number), place_of(job, result, repeats.front().first)));
  });
  drop_repeats(job, result, repeats, data::Drop::duplicate_id);
}

void drop_duplicate_sequences(const Job& job, ReadResult& result) {
  if (!job.config.records.dedupe) return;
  const auto repeats =
      find_repeats(job, result, [](const data::StoredRecord& record) { return data::digest_of(record.tokens); });
  drop_repeats(job, result, repeats, data::Drop::duplicate_sequence);
}

}  // namespace lsd::tasks::sharding
