// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reads dumps of latents, memory-mapped. Opening checks format, version, identity and sizes; the rows of a block are
// compared with its checksum when they are first asked for, so a damaged dump cannot train a model. Thread-safe.

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "lsd/io/embedding_format.h"

namespace lsd::io {

// One part file.
class EmbeddingPartReader {
 public:
  // Throws DataError that names the file and what is wrong with it.
  explicit EmbeddingPartReader(const std::filesystem::path& file);
  ~EmbeddingPartReader();
  EmbeddingPartReader(EmbeddingPartReader&&) noexcept;

  const EmbeddingPart& entry() const;
  const std::string& fingerprint() const;  // of the identity it was written with
  const EmbeddingMoments& moments() const;
  std::span<const std::uint64_t> offsets() const;  // [records + 1] token rows
  std::string_view id(std::int64_t record) const;
  std::span<const std::uint64_t> sequence_hashes() const;  // [records]; empty in parts of older programs
  // Rows [first, first + count) as bytes of identity.element. Checks the blocks they lie in, once each.
  std::span<const std::byte> rows(std::int64_t first, std::int64_t count) const;
  void verify() const;       // every block of every table
  void verify_file() const;  // the whole file against the checksum at its end (of older programs: every block)

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// A finished dump: records by number, over all parts.
class EmbeddingReader {
 public:
  explicit EmbeddingReader(const std::filesystem::path& folder);
  ~EmbeddingReader();
  EmbeddingReader(EmbeddingReader&&) noexcept;

  const EmbeddingManifest& manifest() const { return manifest_; }
  std::int64_t size() const { return manifest_.records(); }
  std::int64_t width() const { return manifest_.identity.width; }
  std::string_view id(std::int64_t record) const;
  // Token rows of a record, specials included when identity.specials.
  std::int64_t tokens(std::int64_t record) const;
  // kind residues: rows [first, first + count) of a record; kind means: its one row (first 0, count 1).
  std::span<const std::byte> rows(std::int64_t record, std::int64_t first, std::int64_t count) const;
  void verify() const;  // every block of every part: throws DataError naming the first damaged one
  const std::vector<EmbeddingPartReader>& parts() const { return parts_; }  // in record order

 private:
  const EmbeddingPartReader& part_of(std::int64_t record, std::int64_t& within) const;

  EmbeddingManifest manifest_;
  std::vector<EmbeddingPartReader> parts_;
};

}  // namespace lsd::io
