// SPDX-License-Identifier: Apache-2.0
#pragma once
// One shard file, memory-mapped. Opening checks format, version and that every table lies inside the file and fits the
// others in size; it does not read the data. Every block of 1 MiB is compared with its checksum when it is first used
// (by any thread), so that damage ends a program instead of entering its results. `verify` reads and compares
// everything.

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
  // Of one record; throw DataError naming file, table, block and bytes when they are damaged. `content` does not check.
  std::span<const std::uint8_t> tokens(std::int64_t record) const;
  std::string_view id(std::int64_t record) const;
  std::int64_t length(std::int64_t record) const;  // in tokens, which are not looked at
  std::uint64_t record_number(std::int64_t record) const;

  // Throws DataError naming file, table, block and bytes of the first difference. `expected_file_checksum` (the
  // manifest's) also covers what lies outside the tables.
  void verify(std::uint64_t expected_file_checksum) const;

 private:
  struct Mapping;
  std::span<const std::uint8_t> unchecked_tokens(std::int64_t record) const;
  std::unique_ptr<Mapping> mapping_;
  ShardContent content_;
};

}  // namespace lsd::io
