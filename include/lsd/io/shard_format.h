// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a shard file holds (docs/formats/shards.md): the names, the version, and the plain structs that writer, reader
// and manifest share.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace lsd::io {

inline constexpr std::string_view kShardFormat = "lsd-shard";
inline constexpr std::int64_t kShardVersion = 1;
inline constexpr std::int64_t kShardBlockBytes = 1 << 20;  // one checksum per block of a dataset

// Which shard of which set a file is. `alphabet` lists the token names in id order, separated by blanks.
struct ShardIdentity {
  std::string split;
  std::int64_t index = 0;
  std::int64_t count = 0;  // shards of this split
  std::string fingerprint;
  std::string alphabet;
};

// All records of one shard: record i has tokens [offsets[i], offsets[i + 1]) and id bytes [id_offsets[i], id_offsets[i
// + 1]).
struct ShardContent {
  std::span<const std::uint8_t> tokens;
  std::span<const std::uint64_t> offsets;         // [records + 1]
  std::span<const std::uint64_t> record_numbers;  // [records], the global number in the input
  std::span<const std::uint8_t> id_bytes;
  std::span<const std::uint64_t> id_offsets;  // [records + 1]
};

// A finished file, as the manifest lists it.
struct ShardEntry {
  std::string name;  // "train-00000-of-00012.h5"
  std::int64_t records = 0;
  std::int64_t residues = 0;
  std::int64_t bytes = 0;
  std::uint64_t checksum = 0;  // of the whole file
};

std::string shard_name(std::string_view split, std::int64_t index, std::int64_t count);

}  // namespace lsd::io
