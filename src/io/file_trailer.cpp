// SPDX-License-Identifier: Apache-2.0
#include "lsd/io/file_trailer.h"

#include <fmt/format.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>

#include "lsd/core/checksum.h"
#include "lsd/core/error.h"

namespace lsd::io {
namespace {

constexpr std::string_view kMark = "\nlsd-part xxh3: ";
static_assert(kMark.size() + 16 == kTrailerBytes);

}  // namespace

std::string file_trailer(std::uint64_t checksum) {
  return std::string(kMark) + checksum_hex(checksum);
}

std::optional<std::uint64_t> checksum_in_trailer(std::string_view last_bytes) {
  if (last_bytes.size() != kTrailerBytes || !last_bytes.starts_with(kMark)) return std::nullopt;
  std::uint64_t checksum = 0;
  const auto* begin = last_bytes.data() + kMark.size();
  const auto* end = last_bytes.data() + last_bytes.size();
  const auto result = std::from_chars(begin, end, checksum, 16);
  // Upper-case digits say the same number and are none of ours.
  if (result.ec != std::errc() || result.ptr != end || checksum_hex(checksum) != std::string_view(begin, 16))
    return std::nullopt;
  return checksum;
}

std::uint64_t append_trailer(const std::filesystem::path& file) {
  const auto checksum = checksum_of_file(file);
  std::ofstream out(file, std::ios::binary | std::ios::app);
  out << file_trailer(checksum) << std::flush;
  if (!out) throw SystemError(fmt::format("cannot write to the end of {}: {}", file.string(), std::strerror(errno)));
  return checksum;
}

}  // namespace lsd::io
