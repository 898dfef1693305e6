// SPDX-License-Identifier: Apache-2.0
#include "checkpoint_layout_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/core/json_text.h"

namespace lsd::io {
namespace {

constexpr std::string_view kPrefix = "checkpoint-";
constexpr std::string_view kFormat = "lsd-checkpoint";
constexpr std::string_view kChecksumStart = "{\n  \"checksum\": \"";
constexpr std::string_view kNoChecksum = "0000000000000000";

std::uint64_t number_from_hex(const std::string& text) {
  std::uint64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size())
    throw DataError("a checksum is 16 hexadecimal digits");
  return value;
}

void check_own_checksum(const std::filesystem::path& path, std::string text) {
  const auto digits = kChecksumStart.size();
  if (text.compare(0, digits, kChecksumStart) != 0 || text.size() < digits + kNoChecksum.size())
    throw DataError(
        fmt::format("{} is damaged or not a checkpoint's state: it does not begin with its checksum", path.string()));
  const auto stated = text.substr(digits, kNoChecksum.size());
  text.replace(digits, kNoChecksum.size(), kNoChecksum);
  if (const auto found = checksum_hex(checksum64(text)); found != stated)
    throw DataError(fmt::format("{} is damaged: its checksum is {} and should be {}", path.string(), found, stated));
}

CheckpointState state_from(const nlohmann::ordered_json& json) {
  CheckpointState state;
  json.at("step").get_to(state.step);
  json.at("next_visit").get_to(state.next_visit);
  json.at("skipped_visits").get_to(state.skipped_visits);
  json.at("config").get_to(state.config);
  json.at("config_text").get_to(state.config_text);
  json.at("fingerprints").get_to(state.fingerprints);
  json.at("versions").get_to(state.versions);
  state.extra_json = json_text(json.at("extra"));
  return state;
}

}  // namespace

std::string checkpoint_name(std::int64_t step) {
  return fmt::format("{}{:08}", kPrefix, step);
}

std::optional<std::int64_t> step_of_name(const std::string& name) {
  if (!name.starts_with(kPrefix) || name.size() < kPrefix.size() + 8) return std::nullopt;
  std::int64_t step = 0;
  const auto* end = name.data() + name.size();
  const auto result = std::from_chars(name.data() + kPrefix.size(), end, step);
  if (result.ec != std::errc() || result.ptr != end || step < 0) return std::nullopt;
  return step;
}

std::vector<std::int64_t> checkpoint_steps(const std::filesystem::path& folder) {
  std::vector<std::int64_t> steps;
  if (!std::filesystem::is_directory(folder)) return steps;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (const auto step = step_of_name(entry.path().filename().string()); step && entry.is_directory())
      steps.push_back(*step);
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::string state_text(const CheckpointState& state, const std::vector<WrittenFile>& files) {
  nlohmann::ordered_json json;
  json["checksum"] = kNoChecksum;
  json["format"] = kFormat;
  json["version"] = kCheckpointVersion;
  json["step"] = state.step;
  json["next_visit"] = state.next_visit;
  json["skipped_visits"] = state.skipped_visits;
  json["config"] = state.config;
  json["config_text"] = state.config_text;
  json["fingerprints"] = state.fingerprints;
  json["versions"] = state.versions;
  json["extra"] = nlohmann::ordered_json::parse(state.extra_json, nullptr, false);
  check(json["extra"].is_object(), "a checkpoint's extra state is a JSON object");
  json["files"] = nlohmann::ordered_json::array();
  for (const auto& file : files)
    json["files"].push_back({{"name", file.name}, {"bytes", file.bytes}, {"checksum", checksum_hex(file.checksum)}});
  auto text = json_text(json, 2) + "\n";
  const auto own = checksum_hex(checksum64(text));
  text.replace(kChecksumStart.size(), own.size(), own);
  return text;
}

std::pair<CheckpointState, std::vector<WrittenFile>> parse_state(const std::filesystem::path& path,
                                                                 const std::string& text) {
  check_own_checksum(path, text);
  try {
    const auto json = nlohmann::ordered_json::parse(text);
    if (json.at("format") != kFormat) throw DataError(fmt::format("{} is not a checkpoint's state", path.string()));
    if (const auto version = json.at("version").get<int>(); version != kCheckpointVersion)
      throw DataError(
          fmt::format("{} has version {} of the checkpoint format and this program reads version {}; use the program "
                      "that wrote it",
                      path.string(), version, kCheckpointVersion));
    std::vector<WrittenFile> files;
    for (const auto& file : json.at("files"))
      files.push_back({file.at("name"), file.at("bytes"), number_from_hex(file.at("checksum"))});
    return {state_from(json), std::move(files)};
  } catch (const nlohmann::json::exception& error) {
    throw DataError(fmt::format("{} is not a checkpoint's state: {}", path.string(), error.what()));
  }
}

}  // namespace lsd::io
