// SPDX-License-Identifier: Apache-2.0
#include "lsd/io/shard_reader.h"

#include <fmt/format.h>

#include <atomic>

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
  CheckedTable(std::string name_, std::span<const std::byte> bytes_, std::span<const std::uint64_t> checksums_)
      : name(std::move(name_)),
        bytes(bytes_),
        checksums(checksums_),
        intact(std::make_unique<std::atomic<bool>[]>(checksums.size())) {}

  std::span<const std::byte> block(std::size_t index) const {
    const auto first = index * kShardBlockBytes;
    return bytes.subspan(first, std::min<std::size_t>(kShardBlockBytes, bytes.size() - first));
  }

  std::string name;
  std::span<const std::byte> bytes;
  std::span<const std::uint64_t> checksums;
  std::unique_ptr<std::atomic<bool>[]> intact;  // blocks found so; two threads may look at one at once
};

enum TableIndex : std::size_t { kTokens, kOffsets, kRecords, kIdBytes, kIdOffsets };  // into Mapping::tables

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
    tables.emplace_back(name, std::as_bytes(values), sums);
    return values;
  }

  // Before bytes [first, end) of a table are used.
  void touch(TableIndex index, std::uint64_t first, std::uint64_t end, const ShardContent& content) const {
    const auto& table = tables[index];
    for (auto block = first / kShardBlockBytes; block * kShardBlockBytes < end; ++block)
      if (!table.intact[block].load(std::memory_order_relaxed)) check_block(table, block, content);
  }
  void check_block(const CheckedTable& table, std::size_t block, const ShardContent& content) const;
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
    mapping_->tables.reserve(kIdOffsets + 1);
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

namespace {

std::string records_of(const std::string& table, const ShardContent& content, std::uint64_t first, std::uint64_t last) {
  if (table == kTokensTable) return name_records(content.offsets, first, last);
  if (table == kIdBytesTable) return name_records(content.id_offsets, first, last);
  return name_records(content.record_numbers.size(), first / 8, last / 8);
}

}  // namespace

void ShardReader::Mapping::check_block(const CheckedTable& table, std::size_t block,
                                       const ShardContent& content) const {
  const auto found = checksum64(table.block(block));
  if (found == table.checksums[block]) return table.intact[block].store(true, std::memory_order_relaxed);
  const auto first = block * kShardBlockBytes;
  const auto last = first + table.block(block).size() - 1;
  throw DataError(
      fmt::format("{}: block {} of the table '{}' (its bytes {} to {}; {}) is damaged: checksum {}, stored {}; {}",
                  path.string(), block, table.name, first, last, records_of(table.name, content, first, last),
                  checksum_hex(found), checksum_hex(table.checksums[block]), kAdvice));
}

const std::filesystem::path& ShardReader::path() const {
  return mapping_->path;
}
const ShardIdentity& ShardReader::identity() const {
  return mapping_->identity;
}

namespace {

// A writer's mistake must not become a wild pointer, even where the checksums are right.
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

std::uint64_t place_of(std::span<const std::uint8_t> part, std::span<const std::uint8_t> whole) {
  return static_cast<std::uint64_t>(part.data() - whole.data());
}

}  // namespace

std::span<const std::uint8_t> ShardReader::unchecked_tokens(std::int64_t record) const {
  const auto place = static_cast<std::uint64_t>(record) * sizeof(std::uint64_t);
  mapping_->touch(kOffsets, place, place + 2 * sizeof(std::uint64_t), content_);
  return slice(content_.tokens, content_.offsets, record, mapping_->path);
}

std::int64_t ShardReader::length(std::int64_t record) const {
  return static_cast<std::int64_t>(unchecked_tokens(record).size());
}

std::span<const std::uint8_t> ShardReader::tokens(std::int64_t record) const {
  const auto bytes = unchecked_tokens(record);
  const auto first = place_of(bytes, content_.tokens);
  mapping_->touch(kTokens, first, first + bytes.size(), content_);
  return bytes;
}

std::string_view ShardReader::id(std::int64_t record) const {
  const auto place = static_cast<std::uint64_t>(record) * sizeof(std::uint64_t);
  mapping_->touch(kIdOffsets, place, place + 2 * sizeof(std::uint64_t), content_);
  const auto bytes = slice(content_.id_bytes, content_.id_offsets, record, mapping_->path);
  const auto first = place_of(bytes, content_.id_bytes);
  mapping_->touch(kIdBytes, first, first + bytes.size(), content_);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::uint64_t ShardReader::record_number(std::int64_t record) const {
  const auto place = static_cast<std::uint64_t>(record) * sizeof(std::uint64_t);
  mapping_->touch(kRecords, place, place + sizeof(std::uint64_t), content_);
  return content_.record_numbers[static_cast<std::size_t>(record)];
}

void ShardReader::verify(std::uint64_t expected_file_checksum) const {
  mapping_->file.expect_sequential_reading();
  for (const auto& table : mapping_->tables)
    for (std::size_t block = 0; block < table.checksums.size(); ++block) mapping_->check_block(table, block, content_);
  const auto whole = checksum64(mapping_->file.bytes());
  if (whole == expected_file_checksum) return;
  throw DataError(
      fmt::format("{}: its tables are intact, but the file has checksum {} and the manifest says {}: head or "
                  "checksum tables are damaged, or it belongs to another set; {}",
                  mapping_->path.string(), checksum_hex(whole), checksum_hex(expected_file_checksum), kAdvice));
}

}  // namespace lsd::io
