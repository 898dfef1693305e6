// SPDX-License-Identifier: Apache-2.0
#include "lsd/io/shard_reader.h"

#include <fmt/format.h>

#include "block_records_internal.h"
#include "hdf5_handle_internal.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "mapped_file_internal.h"
#include "shard_tables_internal.h"

namespace lsd::io {
namespace {

constexpr std::string_view kAdvice = "restore the file or make the shards again";

struct CheckedTable {
  std::string name;
  std::span<const std::byte> bytes;
  std::span<const std::uint64_t> checksums;
};

template <class T>
std::span<const T> map_table(const Hdf5Handle& parent, const std::string& name, const MappedFile& file) {
  const auto place = find_table(parent, name, sizeof(T) == 1 ? H5T_STD_U8LE : H5T_STD_U64LE);
  const auto available = file.bytes().size();
  if (place.offset_bytes > available || place.size > (available - place.offset_bytes) / sizeof(T))
    throw DataError(
        fmt::format("the table '{}' reaches beyond the end of the file: it was cut short; {}", name, kAdvice));
  if (place.offset_bytes % sizeof(T) != 0)
    throw DataError(fmt::format("the table '{}' is not aligned, so it cannot be mapped; {}", name, kAdvice));
  return {reinterpret_cast<const T*>(file.bytes().data() + place.offset_bytes), place.size};
}

void check_version(const Hdf5Handle& file) {
  const auto format = read_text_attribute(file, "format");
  if (format != kShardFormat) throw DataError(fmt::format("it is of the kind '{}', not a shard of sequences", format));
  const auto version = read_integer_attribute(file, "version");
  if (version != kShardVersion) {
    throw DataError(
        fmt::format("it has format version {}, this program reads version {}: make the shards again with this "
                    "program, or use the program that made them",
                    version, kShardVersion));
  }
}

void check_sizes(const Hdf5Handle& file, const ShardContent& content) {
  const auto records = static_cast<std::uint64_t>(read_integer_attribute(file, "records"));
  const auto residues = static_cast<std::uint64_t>(read_integer_attribute(file, "residues"));
  const bool sizes_fit = content.record_numbers.size() == records && content.offsets.size() == records + 1 &&
                         content.id_offsets.size() == records + 1 && content.tokens.size() == residues;
  if (!sizes_fit || content.offsets.front() != 0 || content.offsets.back() != residues ||
      content.id_offsets.front() != 0 || content.id_offsets.back() != content.id_bytes.size())
    throw DataError(fmt::format("its tables contradict each other in size: it is damaged; {}", kAdvice));
}

}  // namespace

struct ShardReader::Mapping {
  explicit Mapping(const std::filesystem::path& path_) : path(path_), file(path_) {}
  std::filesystem::path path;
  MappedFile file;
  ShardIdentity identity;
  std::vector<CheckedTable> tables;

  template <class T>
  std::span<const T> open_table(const Hdf5Handle& root, const Hdf5Handle& checksums, const std::string& name) {
    const auto values = map_table<T>(root, name, file);
    const auto sums = map_table<std::uint64_t>(checksums, name, file);
    const auto blocks = (values.size_bytes() + kShardBlockBytes - 1) / kShardBlockBytes;
    if (sums.size() != blocks)
      throw DataError(fmt::format("the checksums of '{}' do not fit its size; {}", name, kAdvice));
    tables.push_back({name, std::as_bytes(values), sums});
    return values;
  }
};

ShardReader::ShardReader(const std::filesystem::path& file) {
  with_context("while opening the shard " + file.string(), [&] {
    const auto lock = lock_hdf5();
    const auto root = open_hdf5_file(file);
    check_version(root);
    mapping_ = std::make_unique<Mapping>(file);
    mapping_->identity = {.split = read_text_attribute(root, "split"),
                          .index = read_integer_attribute(root, "shard_index"),
                          .count = read_integer_attribute(root, "shard_count"),
                          .fingerprint = read_text_attribute(root, "fingerprint"),
                          .alphabet = read_text_attribute(root, "alphabet")};
    if (read_integer_attribute(root, "block_bytes") != kShardBlockBytes)
      throw DataError("its checksum blocks have another size than this version writes");
    const hid_t group = H5Gopen2(root.get(), kChecksumGroup.c_str(), H5P_DEFAULT);
    if (group < 0) throw DataError(fmt::format("the group '{}' is missing; {}", kChecksumGroup, kAdvice));
    const Hdf5Handle checksums(group, H5Gclose, "open a group");
    content_.tokens = mapping_->open_table<std::uint8_t>(root, checksums, kTokensTable);
    content_.offsets = mapping_->open_table<std::uint64_t>(root, checksums, kOffsetsTable);
    content_.record_numbers = mapping_->open_table<std::uint64_t>(root, checksums, kRecordsTable);
    content_.id_bytes = mapping_->open_table<std::uint8_t>(root, checksums, kIdBytesTable);
    content_.id_offsets = mapping_->open_table<std::uint64_t>(root, checksums, kIdOffsetsTable);
    check_sizes(root, content_);
  });
}

ShardReader::~ShardReader() = default;
ShardReader::ShardReader(ShardReader&&) noexcept = default;
ShardReader& ShardReader::operator=(ShardReader&&) noexcept = default;

const std::filesystem::path& ShardReader::path() const {
  return mapping_->path;
}
const ShardIdentity& ShardReader::identity() const {
  return mapping_->identity;
}

namespace {

// A damaged offset must not become a wild pointer; the check is two comparisons beside a page that is read anyway.
std::span<const std::uint8_t> slice(std::span<const std::uint8_t> bytes, std::span<const std::uint64_t> offsets,
                                    std::int64_t record, const std::filesystem::path& file) {
  const auto begin = offsets[static_cast<std::size_t>(record)];
  const auto end = offsets[static_cast<std::size_t>(record) + 1];
  if (begin > end || end > bytes.size()) {
    throw DataError(fmt::format("{}: the offsets of record {} point outside the data: it is damaged; {}", file.string(),
                                record, kAdvice));
  }
  return bytes.subspan(begin, end - begin);
}

}  // namespace

std::span<const std::uint8_t> ShardReader::tokens(std::int64_t record) const {
  return slice(content_.tokens, content_.offsets, record, mapping_->path);
}

std::string_view ShardReader::id(std::int64_t record) const {
  const auto bytes = slice(content_.id_bytes, content_.id_offsets, record, mapping_->path);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

namespace {

std::string records_of(const std::string& table, const ShardContent& content, std::uint64_t first, std::uint64_t last) {
  if (table == kTokensTable) return name_records(content.offsets, first, last);
  if (table == kIdBytesTable) return name_records(content.id_offsets, first, last);
  return name_records(content.record_numbers.size(), first / 8, last / 8);
}

}  // namespace

void ShardReader::verify(std::uint64_t expected_file_checksum) const {
  mapping_->file.expect_sequential_reading();
  for (const auto& table : mapping_->tables) {
    const auto found = block_checksums(table.bytes);
    for (std::size_t block = 0; block < found.size(); ++block) {
      if (found[block] == table.checksums[block]) continue;
      const auto first = block * kShardBlockBytes;
      const auto last = std::min<std::size_t>(first + kShardBlockBytes, table.bytes.size()) - 1;
      throw DataError(fmt::format(
          "{}: block {} of the table '{}' (its bytes {} to {}; {}) is damaged: checksum {}, stored {}; {}",
          mapping_->path.string(), block, table.name, first, last, records_of(table.name, content_, first, last),
          checksum_hex(found[block]), checksum_hex(table.checksums[block]), kAdvice));
    }
  }
  const auto whole = checksum64(mapping_->file.bytes());
  if (whole == expected_file_checksum) return;
  throw DataError(
      fmt::format("{}: its tables are intact, but the file has checksum {} and the manifest says {}: head or "
                  "checksum tables are damaged, or it belongs to another set; {}",
                  mapping_->path.string(), checksum_hex(whole), checksum_hex(expected_file_checksum), kAdvice));
}

}  // namespace lsd::io
