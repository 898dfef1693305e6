// SPDX-License-Identifier: Apache-2.0
#include "lsd/io/embedding_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "embedding_tables_internal.h"
#include "lsd/core/error.h"

namespace lsd::io {

EmbeddingReader::EmbeddingReader(const std::filesystem::path& folder) : manifest_(read_embedding_manifest(folder)) {
  const auto fingerprint = manifest_.identity.fingerprint();
  for (const auto& entry : manifest_.parts) {
    parts_.emplace_back(folder / entry.name);
    const auto& found = parts_.back().entry();
    if (parts_.back().fingerprint() != fingerprint || found.checksum != entry.checksum ||
        found.file_checksum != entry.file_checksum || found.bytes != entry.bytes || found.records != entry.records ||
        found.first_record != entry.first_record) {
      throw DataError(
          fmt::format("{}: it is not the file that the manifest beside it lists (another dump's, or changed "
                      "since); {}",
                      (folder / entry.name).string(), kEmbeddingAdvice));
    }
  }
}

EmbeddingReader::~EmbeddingReader() = default;
EmbeddingReader::EmbeddingReader(EmbeddingReader&&) noexcept = default;

const EmbeddingPartReader& EmbeddingReader::part_of(std::int64_t record, std::int64_t& within) const {
  check(record >= 0 && record < size(), "a record of this dump");
  const auto behind = std::upper_bound(manifest_.parts.begin(), manifest_.parts.end(), record,
                                       [](std::int64_t r, const EmbeddingPart& part) { return r < part.first_record; });
  const auto number = static_cast<std::size_t>(behind - manifest_.parts.begin()) - 1;
  within = record - manifest_.parts[number].first_record;
  return parts_[number];
}

std::string_view EmbeddingReader::id(std::int64_t record) const {
  std::int64_t within = 0;
  return part_of(record, within).id(within);
}

std::int64_t EmbeddingReader::tokens(std::int64_t record) const {
  std::int64_t within = 0;
  const auto offsets = part_of(record, within).offsets();
  return static_cast<std::int64_t>(offsets[static_cast<std::size_t>(within) + 1] -
                                   offsets[static_cast<std::size_t>(within)]);
}

std::span<const std::byte> EmbeddingReader::rows(std::int64_t record, std::int64_t first, std::int64_t count) const {
  std::int64_t within = 0;
  const auto& part = part_of(record, within);
  if (manifest_.identity.kind == EmbeddingKind::means) return part.rows(within, 1);
  const auto begin = static_cast<std::int64_t>(part.offsets()[static_cast<std::size_t>(within)]);
  check(first >= 0 && first + count <= tokens(record), "rows of this record");
  return part.rows(begin + first, count);
}

void EmbeddingReader::verify() const {
  for (const auto& part : parts_) part.verify();
}

}  // namespace lsd::io
