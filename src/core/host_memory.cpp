// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/host_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <utility>

#include "lsd/core/error.h"

namespace lsd {
namespace {

constexpr auto kUnknown = std::numeric_limits<std::uint64_t>::max();

std::uint64_t available_on_machine() {
  std::ifstream file("/proc/meminfo");
  std::string word;
  std::uint64_t kib = 0;
  while (file >> word)
    if (word == "MemAvailable:" && file >> kib) return kib << 10U;
  return kUnknown;
}

// A container's or a job's own limit (version 2 of the control groups); no limit where there is none.
std::uint64_t available_in_group() {
  const auto read_number = [](const char* path) {
    std::ifstream file(path);
    std::uint64_t value = 0;
    return file >> value ? value : kUnknown;
  };
  const auto limit = read_number("/sys/fs/cgroup/memory.max");
  const auto used = read_number("/sys/fs/cgroup/memory.current");
  if (limit == kUnknown || used >= limit) return limit;
  return limit - used;
}

constexpr std::pair<const char*, double> kUnits[] = {{"", 1.0},       {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30},
                                                     {"TiB", 0x1p40}, {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12}};

}  // namespace

std::uint64_t available_host_memory() {
  return std::min(available_on_machine(), available_in_group());
}

std::uint64_t bytes_from_text(const std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  const bool is_number = end != text.c_str() && text.find_first_not_of("0123456789.") > 0;
  while (*end == ' ') ++end;
  const auto* unit =
      std::find_if(std::begin(kUnits), std::end(kUnits), [&](const auto& u) { return u.first == std::string(end); });
  if (!is_number || unit == std::end(kUnits) || !(number * unit->second < 0x1p63))
    throw UserError(fmt::format(
        "'{}' is no amount of memory: write a number and KiB, MiB, GiB, TiB, MB, GB or TB, as in 80GiB", text));
  return static_cast<std::uint64_t>(number * unit->second);
}

}  // namespace lsd
