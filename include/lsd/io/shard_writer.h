// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writes one shard file, whole or not at all. Equal content gives equal bytes: no time stamps, no host names. Records
// pass through blocks that stay in the cache while they are filled, checksummed and written; a shard is never held in
// memory.

#include <filesystem>
#include <memory>
#include <optional>

#include "lsd/io/attempt.h"
#include "lsd/io/shard_format.h"

namespace lsd::io {

// Known before the first record, so that every table is laid out at once.
struct ShardSizes {
  std::uint64_t records = 0;
  std::uint64_t residues = 0;
  std::uint64_t id_bytes = 0;
};

struct ShardRecord {
  std::uint64_t number = 0;  // global, in the input
  std::string_view id;
  std::span<const std::uint8_t> tokens;
};

class ShardWriter {
 public:
  // Throws SystemError when the disk refuses. With an attempt, the file is put in place only while that is the newest.
  ShardWriter(std::filesystem::path folder, const ShardIdentity& identity, const ShardSizes& sizes,
              std::optional<Attempt> attempt = {});
  ~ShardWriter();  // removes what was written unless `finish` was reached
  ShardWriter(const ShardWriter&) = delete;
  ShardWriter& operator=(const ShardWriter&) = delete;

  void append(const ShardRecord& record);
  // Syncs and renames the file to `folder`/shard_name(identity). InternalError when the records are not those
  // announced, SystemError when a newer attempt has begun.
  ShardEntry finish();

 private:
  ShardEntry commit();

  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lsd::io
