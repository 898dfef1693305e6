// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which records a damaged stretch of a table belongs to, in words for an error message.

#include <cstdint>
#include <span>
#include <string>

namespace lsd::io {

// Elements [first, last] of a table in which record i has [offsets[i], offsets[i + 1]): "records 3 to 9 of the file".
// Safe, if meaningless, for offsets that are themselves damaged.
std::string name_records(std::span<const std::uint64_t> offsets, std::uint64_t first, std::uint64_t last);
// The same for a table with one element per record, or one more.
std::string name_records(std::uint64_t records, std::uint64_t first, std::uint64_t last);

}  // namespace lsd::io
