// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "block_records_internal.h"

namespace lsd::io {

std::string name_records(std::span<const std::uint64_t> offsets, std::uint64_t first, std::uint64_t last) {
  if (offsets.size() < 2) return "no record";
  const auto record_of = [&](std::uint64_t element) {
    const auto behind = std::upper_bound(offsets.begin(), offsets.end() - 1, element) - offsets.begin();
    return static_cast<std::uint64_t>(std::max<std::ptrdiff_t>(behind - 1, 0));
  };
  return name_records(offsets.size() - 1, record_of(first), record_of(last));
}

std::string name_records(std::uint64_t records, std::uint64_t first, std::uint64_t last) {
  if (records == 0) return "no record";
  first = std::min(first, records - 1);
  last = std::min(last, records - 1);
  return first == last ? fmt::format("record {} of the file", first)
                       : fmt::format("records {} to {} of the file", first, last);
}

}  // namespace lsd::io
