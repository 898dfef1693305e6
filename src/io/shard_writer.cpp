// SPDX-License-Identifier: Apache-2.0
#include "lsd/io/shard_writer.h"

#include <fmt/format.h>

#include "hdf5_handle_internal.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "lsd/core/fault_point.h"
#include "shard_tables_internal.h"
#include "table_writer_internal.h"

namespace lsd::io {
namespace {

void write_identity(const Hdf5Handle& file, const ShardIdentity& identity, const ShardSizes& sizes) {
  write_attribute(file, "format", kShardFormat);
  write_attribute(file, "version", kShardVersion);
  write_attribute(file, "split", identity.split);
  write_attribute(file, "shard_index", identity.index);
  write_attribute(file, "shard_count", identity.count);
  write_attribute(file, "fingerprint", identity.fingerprint);
  write_attribute(file, "alphabet", identity.alphabet);
  write_attribute(file, "records", static_cast<std::int64_t>(sizes.records));
  write_attribute(file, "residues", static_cast<std::int64_t>(sizes.residues));
  write_attribute(file, "block_bytes", kShardBlockBytes);
}

template <class T>
void write_checksums(const Hdf5Handle& group, TableWriter<T>& table) {
  const auto& sums = table.finish();
  write_table(create_table(group, table.name(), H5T_STD_U64LE, sums.size()), H5T_NATIVE_UINT64, sums.data());
}

}  // namespace

struct ShardWriter::State {
  State(std::filesystem::path target_, std::filesystem::path partial_, const ShardIdentity& identity,
        const ShardSizes& sizes_, std::optional<Attempt> attempt_)
      : target(std::move(target_)),
        partial(std::move(partial_)),
        attempt(std::move(attempt_)),
        sizes(sizes_),
        file(create_hdf5_file(partial)) {
    write_identity(file, identity, sizes);
    tokens = std::make_unique<TableWriter<std::uint8_t>>(file, kTokensTable, sizes.residues);
    offsets = std::make_unique<TableWriter<std::uint64_t>>(file, kOffsetsTable, sizes.records + 1);
    numbers = std::make_unique<TableWriter<std::uint64_t>>(file, kRecordsTable, sizes.records);
    ids = std::make_unique<TableWriter<std::uint8_t>>(file, kIdBytesTable, sizes.id_bytes);
    id_offsets = std::make_unique<TableWriter<std::uint64_t>>(file, kIdOffsetsTable, sizes.records + 1);
    offsets->append(0);
    id_offsets->append(0);
  }

  void close_tables() {
    const auto lock = lock_hdf5();
    {
      const auto checksums = create_group(file, kChecksumGroup);
      write_checksums(checksums, *tokens);
      write_checksums(checksums, *offsets);
      write_checksums(checksums, *numbers);
      write_checksums(checksums, *ids);
      write_checksums(checksums, *id_offsets);
    }
    tokens.reset(), offsets.reset(), numbers.reset(), ids.reset(), id_offsets.reset();
    file.close("finish writing " + partial.string());
  }

  std::filesystem::path target, partial;
  std::optional<Attempt> attempt;
  ShardSizes sizes;
  Hdf5Handle file;
  std::unique_ptr<TableWriter<std::uint8_t>> tokens, ids;
  std::unique_ptr<TableWriter<std::uint64_t>> offsets, numbers, id_offsets;
  std::uint64_t token_end = 0, id_end = 0;
};

ShardWriter::ShardWriter(std::filesystem::path folder, const ShardIdentity& identity, const ShardSizes& sizes,
                         std::optional<Attempt> attempt) {
  const auto target = std::move(folder) / shard_name(identity.split, identity.index, identity.count);
  const auto partial = attempt ? attempt->partial_path(target) : partial_path(target);
  with_context("while writing " + target.string(), [&] {
    fault_point("shard.begun");
    const auto lock = lock_hdf5();
    try {
      state_ = std::make_unique<State>(target, partial, identity, sizes, std::move(attempt));
    } catch (...) {
      std::error_code ignored;
      std::filesystem::remove(partial, ignored);
      throw;
    }
  });
}

ShardWriter::~ShardWriter() {
  if (!state_) return;
  const auto partial = state_->partial;
  state_.reset();
  std::error_code ignored;
  std::filesystem::remove(partial, ignored);
}

void ShardWriter::append(const ShardRecord& record) {
  try {
    auto& state = *state_;
    state.tokens->append(record.tokens);
    state.ids->append(std::span(reinterpret_cast<const std::uint8_t*>(record.id.data()), record.id.size()));
    state.offsets->append(state.token_end += record.tokens.size());
    state.id_offsets->append(state.id_end += record.id.size());
    state.numbers->append(record.number);
  } catch (Error& error) {
    error.add_context("while writing " + state_->target.string());
    throw;
  }
}

ShardEntry ShardWriter::finish() {
  return with_context("while writing " + state_->target.string(), [&] {
    fault_point("shard.rows_written");
    state_->close_tables();
    fault_point("shard.tables_closed");
    // Before the file is looked at and when it cannot be: a newer attempt removes what this one had begun.
    if (state_->attempt) state_->attempt->check_current();
    try {
      return commit();
    } catch (const std::exception&) {
      if (state_ && state_->attempt) state_->attempt->check_current();
      throw;
    }
  });
}

ShardEntry ShardWriter::commit() {
  const ShardEntry entry{.name = state_->target.filename().string(),
                         .records = static_cast<std::int64_t>(state_->sizes.records),
                         .residues = static_cast<std::int64_t>(state_->sizes.residues),
                         .bytes = static_cast<std::int64_t>(std::filesystem::file_size(state_->partial)),
                         .checksum = checksum_of_file(state_->partial)};
  commit_file(state_->partial, state_->target);
  state_.reset();
  fault_point("shard.committed");
  return entry;
}

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

}  // namespace lsd::io
