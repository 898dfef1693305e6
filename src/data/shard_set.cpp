// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/shard_set.h"

#include <fmt/format.h>

#include <algorithm>

#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/data/alphabet.h"

namespace lsd::data {
namespace {

constexpr std::string_view kAdvice = "restore it from a copy, or make the shards again";

// Every shard of the set, not only of one split: a set with a hole is no set, and the next program would find out late.
void check_files(const std::filesystem::path& folder, const io::ShardManifest& manifest) {
  for (const auto& split : manifest.splits) {
    for (const auto& shard : split.shards) {
      const auto path = folder / shard.name;
      std::error_code error;
      const auto bytes = std::filesystem::file_size(path, error);
      if (error) throw DataError(fmt::format("{} is missing, which the manifest lists: {}", path.string(), kAdvice));
      if (bytes != static_cast<std::uint64_t>(shard.bytes)) {
        throw DataError(fmt::format("{} has {} bytes where the manifest says {}: it was cut short or replaced; {}",
                                    path.string(), bytes, shard.bytes, kAdvice));
      }
    }
  }
}

void check_identity(const io::ShardReader& reader, const io::ShardManifest& manifest, const io::ManifestSplit& split,
                    std::size_t index) {
  const auto& found = reader.identity();
  const auto& entry = split.shards[index];
  if (found.fingerprint != manifest.fingerprint) {
    throw DataError(fmt::format("{} belongs to another shard set (fingerprint {}, the manifest has {}): {}",
                                reader.path().string(), found.fingerprint, manifest.fingerprint, kAdvice));
  }
  const bool fits = found.split == split.name && found.index == static_cast<std::int64_t>(index) &&
                    found.count == static_cast<std::int64_t>(split.shards.size()) &&
                    reader.records() == entry.records &&
                    static_cast<std::int64_t>(reader.content().tokens.size()) == entry.residues;
  if (!fits) {
    throw DataError(
        fmt::format("{} is shard {} of {} of '{}' with {} records; the manifest expects shard {} of {} of '{}' with "
                    "{}: files were mixed up; {}",
                    reader.path().string(), found.index, found.count, found.split, reader.records(), index,
                    split.shards.size(), split.name, entry.records, kAdvice));
  }
  if (found.alphabet != manifest.alphabet)
    throw DataError(fmt::format("{} has another alphabet than its manifest: {}", reader.path().string(), kAdvice));
}

}  // namespace

ShardSplit::ShardSplit(const std::filesystem::path& folder, std::string_view split) {
  const auto manifest = io::read_manifest(folder);
  if (manifest.alphabet != alphabet_text()) {
    throw DataError(
        fmt::format("{} has another alphabet than this program; use the program that made it, or make the shards "
                    "again",
                    (folder / io::kManifestName).string()));
  }
  check_files(folder, manifest);
  manifest_ = manifest.split(split);
  starts_ = {0};
  std::string content = fmt::format("{} {}", manifest_.name, manifest.alphabet);
  for (std::size_t index = 0; index < manifest_.shards.size(); ++index) {
    const auto& entry = manifest_.shards[index];
    readers_.emplace_back(folder / entry.name);
    check_identity(readers_.back(), manifest, manifest_, index);
    starts_.push_back(starts_.back() + entry.records);
    content += fmt::format(" {} {}", entry.records, checksum_hex(entry.checksum));
  }
  fingerprint_ = checksum_hex(checksum64(content));
}

ShardSplit::Place ShardSplit::find(std::int64_t index) const {
  check(index >= 0 && index < size(), "the index of a sequence lies within its split");
  const auto shard = std::upper_bound(starts_.begin(), starts_.end(), index) - starts_.begin() - 1;
  return {readers_[static_cast<std::size_t>(shard)], index - starts_[static_cast<std::size_t>(shard)]};
}

std::int32_t ShardSplit::length(std::int64_t index) const {
  const auto place = find(index);
  return static_cast<std::int32_t>(place.reader.length(place.record));
}

std::span<const std::uint8_t> ShardSplit::residues(std::int64_t index) const {
  const auto place = find(index);
  return place.reader.tokens(place.record);
}

std::string_view ShardSplit::id(std::int64_t index) const {
  const auto place = find(index);
  return place.reader.id(place.record);
}

std::uint64_t ShardSplit::record_number(std::int64_t index) const {
  const auto place = find(index);
  return place.reader.record_number(place.record);
}

std::int64_t ShardSplit::residues_in_all() const {
  return manifest_.residues();
}

void ShardSplit::verify() const {
  for (std::int64_t shard = 0; shard < shards(); ++shard) verify(shard);
}

void ShardSplit::verify(std::int64_t shard) const {
  const auto index = static_cast<std::size_t>(shard);
  readers_[index].verify(manifest_.shards[index].checksum);
}

std::unique_ptr<ShardSplit> open_shard_split(const std::filesystem::path& folder, std::string_view split) {
  return std::make_unique<ShardSplit>(folder, split);
}

std::string alphabet_text() {
  std::string text;
  for (const auto token : kTokens) text += (text.empty() ? "" : " ") + std::string(token);
  return text;
}

}  // namespace lsd::data
