// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace lsd::testing {

// What a run has told of itself; none without the file. Throws when a line is no JSON.
inline std::vector<nlohmann::ordered_json> metric_lines(const std::filesystem::path& run) {
  std::vector<nlohmann::ordered_json> lines;
  std::ifstream file(run / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::ordered_json::parse(line));
  return lines;
}

}  // namespace lsd::testing
