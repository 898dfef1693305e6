// SPDX-License-Identifier: Apache-2.0
#pragma once
// The last 32 bytes of a part file of a dump: 16 fixed ones and the XXH3-64 of everything before them, as 16
// hexadecimal digits. So a part is checked in one pass, without its manifest and without HDF5, which takes no notice of
// what stands behind its own data.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace lsd::io {

inline constexpr std::size_t kTrailerBytes = 32;

std::string file_trailer(std::uint64_t checksum);
// nullopt when these are not the last bytes of a part.
std::optional<std::uint64_t> checksum_in_trailer(std::string_view last_bytes);
// Reads the file once and appends its trailer. Gives the checksum. Throws SystemError.
std::uint64_t append_trailer(const std::filesystem::path& file);

}  // namespace lsd::io
