// SPDX-License-Identifier: Apache-2.0
#pragma once
// One split of a finished shard set (a folder with manifest.json), as a source of sequences. Record i of the split is
// the same on every rank: shards in order, records in order. Everything is memory-mapped; processes of one machine
// share the pages.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lsd/data/sequence_source.h"
#include "lsd/io/shard_manifest.h"
#include "lsd/io/shard_reader.h"

namespace lsd::data {

class ShardSplit final : public SequenceSource {
 public:
  // Checks the manifest, that every shard of the whole set is there with its size, and that the split's own shards are
  // of this set, this version and our alphabet. Throws DataError that names the file.
  ShardSplit(const std::filesystem::path& folder, std::string_view split);

  std::int64_t size() const override { return starts_.back(); }
  std::int32_t length(std::int64_t index) const override;
  std::span<const std::uint8_t> residues(std::int64_t index) const override;
  std::string fingerprint() const override { return fingerprint_; }

  std::string_view id(std::int64_t index) const;
  std::uint64_t record_number(std::int64_t index) const;  // in the input that was sharded
  std::int64_t residues_in_all() const;

  // Reads everything and compares all checksums. With `shard`, that shard only, so that ranks can share the work.
  void verify() const;
  void verify(std::int64_t shard) const;
  std::int64_t shards() const { return static_cast<std::int64_t>(readers_.size()); }

 private:
  struct Place {
    const io::ShardReader& reader;
    std::int64_t record;
  };
  Place find(std::int64_t index) const;

  io::ManifestSplit manifest_;
  std::vector<io::ShardReader> readers_;
  std::vector<std::int64_t> starts_;  // first record of every shard, and the end
  std::string fingerprint_;
};

std::unique_ptr<ShardSplit> open_shard_split(const std::filesystem::path& folder, std::string_view split);

// The names of the alphabet in id order, as shards and manifest store them.
std::string alphabet_text();

}  // namespace lsd::data
