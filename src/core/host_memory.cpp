// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/host_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <utility>

#include "lsd/core/error.h"

namespace fs = std::filesystem;

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

std::uint64_t number_in(const fs::path& path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  return file >> value ? value : kUnknown;  // "max", or no such file
}

// Of one version of the control groups.
struct GroupFiles {
  const char *limit, *used, *inactive, *active;  // files; lines of memory.stat
};
constexpr GroupFiles kVersion1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
                                  "total_active_file"};
constexpr GroupFiles kVersion2 = {"memory.max", "memory.current", "inactive_file", "active_file"};

std::uint64_t pages_of_files(const fs::path& group, const GroupFiles& files) {
  std::ifstream stat(group / "memory.stat");
  std::string name;
  std::uint64_t sum = 0;
  for (std::uint64_t bytes = 0; stat >> name >> bytes;)
    if (name == files.inactive || name == files.active) sum += bytes;
  return sum;
}

std::uint64_t available_in_group(const fs::path& group, const GroupFiles& files) {
  const auto limit = number_in(group / files.limit), used = number_in(group / files.used);
  if (limit == kUnknown || used == kUnknown) return limit;
  const auto held = used - std::min(used, pages_of_files(group, files));
  return limit - std::min(limit, held);
}

// `group` as "/slurm/uid_1000/job_7/step_0"; in a container it may name what cannot be seen from inside.
std::uint64_t available_up_from(const fs::path& root, fs::path group, const GroupFiles& files) {
  std::uint64_t least = available_in_group(root, files);
  for (; group.has_relative_path(); group = group.parent_path())
    least = std::min(least, available_in_group(root / group.relative_path(), files));
  return least;
}

constexpr std::pair<const char*, double> kUnits[] = {{"", 1.0},       {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30},
                                                     {"TiB", 0x1p40}, {"MB", 1e6},     {"GB", 1e9},     {"TB", 1e12}};

}  // namespace

// Lines "7:cpu,memory:/slurm/job_7" of version 1, "0::/slurm/job_7" of version 2; a machine may have both.
std::uint64_t available_in_control_groups(const fs::path& memberships, const fs::path& root) {
  std::ifstream lines(memberships);
  std::uint64_t least = kUnknown;
  for (std::string line; std::getline(lines, line);) {
    const auto first = line.find(':');
    const auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const auto controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const fs::path group = line.substr(second + 1);
    if (controllers == ",,")
      least = std::min(least, available_up_from(root, group, kVersion2));
    else if (controllers.find(",memory,") != std::string::npos)
      least = std::min(least, available_up_from(root / "memory", group, kVersion1));
  }
  return least;
}

std::uint64_t available_host_memory() {
  return std::min(available_on_machine(), available_in_control_groups("/proc/self/cgroup", "/sys/fs/cgroup"));
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
