// SPDX-License-Identifier: Apache-2.0
#pragma once
// One shard file, memory-mapped. Opening checks format, version and that every table lies inside the file and fits the
// others in size; it does not read the data. `verify` reads everything and compares all checksums.

#include <filesystem>
#include <memory>
#include <span>
#include <string_view>

#include "lsd/io/shard_format.h"

namespace lsd::io {

class ShardReader {
 public:
  // Throws DataError that names the file and what is wrong with it.
  explicit ShardReader(const std::filesystem::path& file);
  ~ShardReader();
  ShardReader(ShardReader&&) noexcept;
  ShardReader& operator=(ShardReader&&) noexcept;

  const std::filesystem::path& path() const;
  const ShardIdentity& identity() const;
  std::int64_t records() const { return static_cast<std::int64_t>(content_.record_numbers.size()); }
  // Views into the mapping, valid while this object (or the one it was moved to) lives.
  const ShardContent& content() const { return content_; }
  // Tokens and id of one record; throw DataError when a damaged offset points outside the tables.
  std::span<const std::uint8_t> tokens(std::int64_t record) const;
  std::string_view id(std::int64_t record) const;

  // Throws DataError naming file, table, block and bytes of the first difference. `expected_file_checksum` (the
  // manifest's) also covers what lies outside the tables.
  void verify(std::uint64_t expected_file_checksum) const;

 private:
  struct Mapping;
  std::unique_ptr<Mapping> mapping_;
  ShardContent content_;
};

}  // namespace lsd::io
