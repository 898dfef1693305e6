// SPDX-License-Identifier: Apache-2.0
#include "lsd/io/shard_writer.h"

#include <fmt/format.h>

#include "hdf5_handle_internal.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "mapped_file_internal.h"
#include "shard_tables_internal.h"

namespace lsd::io {
namespace {

void check_content(const ShardContent& content) {
  const std::size_t records = content.record_numbers.size();
  check(content.offsets.size() == records + 1 && content.id_offsets.size() == records + 1,
        "a shard has one offset more than records");
  check(content.offsets.front() == 0 && content.offsets.back() == content.tokens.size(),
        "a shard's offsets span its tokens");
  check(content.id_offsets.front() == 0 && content.id_offsets.back() == content.id_bytes.size(),
        "a shard's id offsets span its ids");
}

void write_identity(const Hdf5Handle& file, const ShardIdentity& identity, const ShardContent& content) {
  write_attribute(file, "format", kShardFormat);
  write_attribute(file, "version", kShardVersion);
  write_attribute(file, "split", identity.split);
  write_attribute(file, "shard_index", identity.index);
  write_attribute(file, "shard_count", identity.count);
  write_attribute(file, "fingerprint", identity.fingerprint);
  write_attribute(file, "alphabet", identity.alphabet);
  write_attribute(file, "records", static_cast<std::int64_t>(content.record_numbers.size()));
  write_attribute(file, "residues", static_cast<std::int64_t>(content.tokens.size()));
  write_attribute(file, "block_bytes", kShardBlockBytes);
}

template <class T>
void write_checked_table(const Hdf5Handle& file, const Hdf5Handle& checksums, const std::string& name,
                         std::span<const T> values) {
  const bool bytes = sizeof(T) == 1;
  write_table(create_table(file, name, bytes ? H5T_STD_U8LE : H5T_STD_U64LE, values.size()),
              bytes ? H5T_NATIVE_UINT8 : H5T_NATIVE_UINT64, values.data());
  const auto sums = block_checksums(std::as_bytes(values));
  write_table(create_table(checksums, name, H5T_STD_U64LE, sums.size()), H5T_NATIVE_UINT64, sums.data());
}

void write_file(const std::filesystem::path& path, const ShardIdentity& identity, const ShardContent& content) {
  const auto lock = lock_hdf5();
  auto file = create_hdf5_file(path);
  write_identity(file, identity, content);
  {
    const auto checksums = create_group(file, kChecksumGroup);
    write_checked_table(file, checksums, kTokensTable, content.tokens);
    write_checked_table(file, checksums, kOffsetsTable, content.offsets);
    write_checked_table(file, checksums, kRecordsTable, content.record_numbers);
    write_checked_table(file, checksums, kIdBytesTable, content.id_bytes);
    write_checked_table(file, checksums, kIdOffsetsTable, content.id_offsets);
  }
  file.close("finish writing " + path.string());
}

}  // namespace

std::string shard_name(std::string_view split, std::int64_t index, std::int64_t count) {
  return fmt::format("{}-{:05}-of-{:05}.h5", split, index, count);
}

std::vector<std::uint64_t> block_checksums(std::span<const std::byte> bytes) {
  std::vector<std::uint64_t> sums;
  constexpr std::size_t block = kShardBlockBytes;
  for (std::size_t start = 0; start < bytes.size(); start += block)
    sums.push_back(checksum64(bytes.subspan(start, std::min(block, bytes.size() - start))));
  return sums;
}

ShardEntry write_shard(const std::filesystem::path& folder, const ShardIdentity& identity,
                       const ShardContent& content) {
  check_content(content);
  const auto name = shard_name(identity.split, identity.index, identity.count);
  const auto path = folder / name;
  const auto partial = partial_path(path);
  return with_context("while writing " + path.string(), [&] {
    try {
      write_file(partial, identity, content);
    } catch (...) {
      std::error_code ignored;
      std::filesystem::remove(partial, ignored);
      throw;
    }
    const auto file = std::make_unique<MappedFile>(partial);
    const ShardEntry entry{.name = name,
                           .records = static_cast<std::int64_t>(content.record_numbers.size()),
                           .residues = static_cast<std::int64_t>(content.tokens.size()),
                           .bytes = static_cast<std::int64_t>(file->bytes().size()),
                           .checksum = checksum64(file->bytes())};
    commit_file(partial, path);
    return entry;
  });
}

}  // namespace lsd::io
