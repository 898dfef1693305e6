// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where every record goes, as pure functions of seed, id and record number: the split by a keyed hash of the id, the
// order by a keyed random number of the record. Ranks therefore agree without talking, and any number of them makes
// equal shards.

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lsd/data/fasta_reader.h"

namespace lsd::data {

inline constexpr std::array<std::string_view, 3> kSplits = {"train", "valid", "test"};

struct SplitShares {
  double valid = 0.0;
  double test = 0.0;
};

// Index into kSplits. An id keeps its split when records around it come, go or move.
int split_of_id(std::string_view id, std::uint32_t seed, const SplitShares& shares);

// Position key of a record in the shuffled order: uniform over 64 bits, ties broken by the record number.
std::uint64_t shuffle_key(std::uint64_t record_number, std::uint32_t seed);

// The shard that holds a key when a split has `shards` of them: shard s holds keys in [s, s + 1) * 2^64 / shards, so no
// rank needs to know the keys of others. Sizes differ by the square root of their mean.
std::int64_t shard_of_key(std::uint64_t key, std::int64_t shards);

// One rank's piece of one input file.
struct InputPart {
  std::size_t file = 0;
  ByteRange range;
  int rank = 0;
};

// Plain files are cut into byte ranges of equal total size per rank; other files go whole to the rank with the least to
// read. Sorted by file and place, which is the order of record numbers. Ranks may get nothing.
std::vector<InputPart> plan_input(const std::vector<FastaFileInfo>& files, int ranks);

}  // namespace lsd::data
