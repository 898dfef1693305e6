// SPDX-License-Identifier: Apache-2.0
#pragma once
// A whole text file in memory, plain or gzip (any number of members). For files of megabytes, such as task tables.

#include <filesystem>
#include <string>

namespace lsd::data {

// Throws DataError for a missing file, truncated or corrupt gzip, bytes behind the last member, and plain text that is
// named .gz.
std::string read_maybe_gzip(const std::filesystem::path& path);

}  // namespace lsd::data
