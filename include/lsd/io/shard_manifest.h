// SPDX-License-Identifier: Apache-2.0
#pragma once
// manifest.json of a shard set: which shards belong together and what happened to every record of the input. It holds
// nothing that depends on time, machine or number of ranks, and is written last: a folder without it is unfinished.

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "lsd/io/shard_format.h"

namespace lsd::io {

using NamedCounts = std::vector<std::pair<std::string, std::int64_t>>;

struct ManifestSplit {
  std::string name;  // "train", "valid" or "test"
  std::vector<ShardEntry> shards;

  std::int64_t records() const;
  std::int64_t residues() const;
};

struct ManifestInput {
  std::string name;        // without folder; "-" is standard input
  std::string encoding;    // "plain", "gzip", "zstd" or "stream"
  std::int64_t bytes = 0;  // of the file as it lies on disk
  NamedCounts counts;
};

struct ShardManifest {
  std::string fingerprint;
  std::string alphabet;
  std::vector<std::pair<std::string, std::string>> options;  // those that decide the content
  std::vector<ManifestInput> inputs;
  NamedCounts counts;  // over all inputs
  std::vector<ManifestSplit> splits;

  // Throws UserError that lists the splits there are.
  const ManifestSplit& split(std::string_view name) const;
};

inline constexpr std::string_view kManifestName = "manifest.json";

void write_manifest(const std::filesystem::path& folder, const ShardManifest& manifest);
// Throws DataError when it is missing (the set is unfinished), damaged or of another version.
ShardManifest read_manifest(const std::filesystem::path& folder);

}  // namespace lsd::io
