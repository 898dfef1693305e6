// SPDX-License-Identifier: Apache-2.0
#pragma once
// The tables of a shard file, named once for writer and reader, and their block checksums.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lsd::io {

inline const std::string kTokensTable = "tokens";
inline const std::string kOffsetsTable = "offsets";
inline const std::string kRecordsTable = "record_numbers";
inline const std::string kIdBytesTable = "id_bytes";
inline const std::string kIdOffsetsTable = "id_offsets";
inline const std::string kChecksumGroup = "checksums";

// XXH3 of every block of kShardBlockBytes bytes; the last may be shorter, an empty table has none.
std::vector<std::uint64_t> block_checksums(std::span<const std::byte> bytes);

}  // namespace lsd::io
