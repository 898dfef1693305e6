// SPDX-License-Identifier: Apache-2.0
#pragma once
// The steps of stage 1. Each is collective over the ranks unless said otherwise.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "lsd/data/duplicates.h"
#include "lsd/data/record_policy.h"
#include "lsd/data/record_store.h"
#include "lsd/data/sharding.h"
#include "lsd/io/attempt.h"
#include "lsd/io/shard_manifest.h"
#include "lsd/tasks/shard.h"

namespace lsd::tasks::sharding {

// Runs `body` on every rank; when it throws on any, all ranks throw the error of the lowest such rank. So no rank is
// left waiting in the next collective, and a message does not depend on who was first.
template <class Body>
void together(dist::HostCommunicator& ranks, Body&& body);

// What is known before reading.
struct Job {
  const ShardConfig& config;
  Runtime& runtime;
  std::vector<data::FastaFileInfo> files;
  std::vector<data::InputPart> parts;
  std::string fingerprint;
  std::uint64_t memory_limit = 0;  // bytes on this rank
};

struct ReadResult {
  data::RecordStore store;
  std::vector<data::RecordStore::Handle> records;  // still in the running, in order of their numbers
  std::vector<data::FastaTally> tallies;           // [files], this rank's parts only
  std::vector<std::int64_t> part_starts;           // global number of the first record of every part, and the end
  bool stopped = false;

  // What this rank holds now and will need to put the records in order: handle, two copies of key and handle, split.
  std::uint64_t memory() const { return store.bytes() + records.capacity() * sizeof(records[0]) + records.size() * 33; }
};

Job prepare(const ShardConfig& config, Runtime& runtime);
// Reads this rank's parts. Only the numbering is collective.
ReadResult read_input(const Job& job);
void drop_duplicate_ids(const Job& job, ReadResult& result);
void drop_duplicate_sequences(const Job& job, ReadResult& result);
// Adds the tallies of all ranks, so that every rank holds the account of every file.
void add_tallies(const Job& job, ReadResult& result);

// Memory: refuses before the machine starts to swap.
// Of what a rank reads, and of what it keeps of that, by the sizes of the files. Of a stream nothing is known
// beforehand: a rank that reads one has 0 input bytes.
std::uint64_t input_bytes(const Job& job);
std::uint64_t expected_memory(const Job& job);
double kept_share(const data::FastaFileInfo& file);  // of a file's bytes, what its records take in memory
// 80 % of the available bytes, shared out by the needs of the ranks on one machine, a tenth of it equally: a compressed
// file is held by the one rank that reads it, so equal parts would refuse what the machine can hold.
std::uint64_t part_of_memory(std::uint64_t available, double need, double need_on_machine, int ranks_on_machine);
std::uint64_t choose_memory_limit(const Job& job);  // collective
void check_memory(const Job& job, std::uint64_t bytes, std::string_view what);

io::ShardManifest make_manifest(const Job& job, const ReadResult& result, std::vector<io::ManifestSplit> splits);
std::string tally_table(const data::FastaTally& tally);
std::string split_table(const std::vector<io::ManifestSplit>& splits);
std::string file_name_of(const std::string& path);  // without folder; "-" stays
data::FastaTally sum_of(const std::vector<data::FastaTally>& tallies);
void write_provenance(const Job& job, const std::filesystem::path& folder, double seconds);

}  // namespace lsd::tasks::sharding

#include "together_internal.h"
