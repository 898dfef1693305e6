// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/partial_files.h"

#include <charconv>
#include <vector>

namespace fs = std::filesystem;

namespace lsd {

bool is_partial(const fs::path& path) {
  return path.filename().string().ends_with(kPartialSuffix);
}

std::optional<std::int64_t> attempt_in_partial(const std::string& name) {
  if (!name.ends_with(kPartialSuffix)) return std::nullopt;
  for (auto at = name.find(".a"); at != std::string::npos; at = name.find(".a", at + 1)) {
    const auto begin = at + 2, end = name.find('.', begin);
    if (end == std::string::npos) return std::nullopt;
    std::int64_t number = 0;
    const auto read = std::from_chars(name.data() + begin, name.data() + end, number);
    if (read.ec == std::errc() && read.ptr == name.data() + end && number > 0) return number;
  }
  return std::nullopt;
}

void remove_partials_if(const fs::path& folder, const std::function<bool(const std::string& name)>& condition) {
  if (!fs::is_directory(folder)) return;
  std::vector<fs::path> leftovers;
  for (const auto& entry : fs::directory_iterator(folder))
    if (is_partial(entry.path()) && condition(entry.path().filename().string())) leftovers.push_back(entry.path());
  for (const auto& leftover : leftovers) fs::remove_all(leftover);
}

}  // namespace lsd
