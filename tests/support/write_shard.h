// SPDX-License-Identifier: Apache-2.0
#pragma once
// A whole shard from tables in memory.

#include "lsd/io/shard_writer.h"

namespace lsd::testing {

inline io::ShardEntry write_shard(const std::filesystem::path& folder, const io::ShardIdentity& identity,
                                  const io::ShardContent& content) {
  io::ShardWriter writer(folder, identity,
                         {content.record_numbers.size(), content.tokens.size(), content.id_bytes.size()});
  const auto* ids = reinterpret_cast<const char*>(content.id_bytes.data());
  for (std::size_t i = 0; i < content.record_numbers.size(); ++i) {
    writer.append({.number = content.record_numbers[i],
                   .id = {ids + content.id_offsets[i], content.id_offsets[i + 1] - content.id_offsets[i]},
                   .tokens = content.tokens.subspan(content.offsets[i], content.offsets[i + 1] - content.offsets[i])});
  }
  return writer.finish();
}

}  // namespace lsd::testing
