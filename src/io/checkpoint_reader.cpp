// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "checkpoint_layout_internal.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"

namespace fs = std::filesystem;

namespace lsd::io {
namespace {

SafetensorsFile open_file(const fs::path& folder, const WrittenFile& file) {
  const auto path = folder / file.name;
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  if (error) throw DataError(fmt::format("checkpoint {} lacks its file {}", folder.string(), file.name));
  if (bytes != file.bytes)
    throw DataError(fmt::format("{} is damaged: it has {} bytes and should have {}", path.string(), bytes, file.bytes));
  if (const auto found = checksum_of_file(path); found != file.checksum)
    throw DataError(fmt::format("{} is damaged: its checksum is {} and should be {}", path.string(),
                                checksum_hex(found), checksum_hex(file.checksum)));
  return SafetensorsFile(path);
}

// The folder that `latest` names; nullopt when it is missing or names none.
std::optional<std::int64_t> step_of_latest(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_regular_file(folder / kLatestFile, error)) return std::nullopt;
  auto name = read_text_file(folder / kLatestFile);
  while (!name.empty() && (name.back() == '\n' || name.back() == '\r')) name.pop_back();
  return step_of_name(name);
}

// Newest first, beginning with the one `latest` names; without a usable `latest`, with the newest there is.
std::vector<std::int64_t> candidates(const fs::path& folder, std::vector<std::string>& reports) {
  auto steps = checkpoint_steps(folder);
  if (const auto latest = step_of_latest(folder)) {
    steps.erase(std::lower_bound(steps.begin(), steps.end(), *latest), steps.end());
    steps.push_back(*latest);
  } else if (!steps.empty()) {
    reports.push_back(fmt::format("{} is missing or damaged", (folder / kLatestFile).string()));
  }
  std::reverse(steps.begin(), steps.end());
  return steps;
}

// What whoever asked for the newest one may do instead, and the sentence's beginning.
std::string what_to_do(const fs::path& folder, const std::vector<std::int64_t>& steps) {
  for (const auto step : steps) {
    const auto path = folder / checkpoint_name(step);
    try {
      open_checkpoint(path);
      return fmt::format("; name the newest good one instead: {}", path.string());
    } catch (const Error&) {  // told of when it is asked for
    }
  }
  return fmt::format("; no checkpoint in {} is good: restore one from a copy, or train anew", folder.string());
}

}  // namespace

const SafetensorsFile& Checkpoint::file(const std::string& name) const {
  const auto found = files.find(name);
  if (found == files.end()) throw DataError(fmt::format("checkpoint {} holds no file {}", path.string(), name));
  return found->second;
}

fs::path checkpoint_path(const fs::path& folder, std::int64_t step) {
  return folder / checkpoint_name(step);
}

bool has_checkpoint(const fs::path& folder) {
  std::error_code error;
  return fs::exists(folder / kLatestFile, error) || !checkpoint_steps(folder).empty();
}

Checkpoint open_checkpoint(const fs::path& path) {
  if (!fs::is_directory(path)) throw DataError(fmt::format("there is no checkpoint folder {}", path.string()));
  if (!fs::is_regular_file(path / kStateFile))
    throw DataError(fmt::format("{} is not a whole checkpoint: it has no {}", path.string(), kStateFile));
  auto [state, files] = parse_state(path / kStateFile, read_text_file(path / kStateFile));
  Checkpoint checkpoint{path, std::move(state), {}};
  for (const auto& file : files) checkpoint.files.emplace(file.name, open_file(path, file));
  return checkpoint;
}

std::optional<Checkpoint> open_latest_checkpoint(const fs::path& folder, OnDamage on_damage,
                                                 std::vector<std::string>* reports) {
  if (!has_checkpoint(folder)) return std::nullopt;
  std::vector<std::string> damage;
  const auto steps = candidates(folder, damage);
  if (on_damage == OnDamage::refuse && !damage.empty()) throw DataError(damage.front() + what_to_do(folder, steps));
  for (const auto step : steps) {
    try {
      auto checkpoint = open_checkpoint(folder / checkpoint_name(step));
      if (reports != nullptr) reports->insert(reports->end(), damage.begin(), damage.end());
      return checkpoint;
    } catch (const DataError& error) {
      if (on_damage == OnDamage::refuse) throw DataError(error.message() + what_to_do(folder, steps));
      damage.push_back(error.message());
    }
  }
  throw DataError(
      fmt::format("no checkpoint in {} is good: {}; restore one from a copy, or start anew in another folder",
                  folder.string(), fmt::join(damage, "; ")));
}

Checkpoint open_checkpoint_at(const fs::path& path) {
  if (fs::exists(path / kStateFile) || step_of_name(path.filename().string())) return open_checkpoint(path);
  for (const auto& folder : {path, path / "checkpoints"})
    if (auto checkpoint = open_latest_checkpoint(folder, OnDamage::refuse)) return std::move(*checkpoint);
  throw UserError(fmt::format("{} holds no checkpoint: name a checkpoint folder or a run's folder", path.string()));
}

void require_same_config(const Checkpoint& checkpoint, const Settings& config) {
  std::string differences;
  const auto& stored = checkpoint.state.config;
  const auto value_in = [](const Settings& settings, const std::string& key) {
    const auto found = settings.find(key);
    return found == settings.end() ? std::string("(absent)") : found->second;
  };
  Settings all = stored;
  all.insert(config.begin(), config.end());
  for (const auto& [key, unused] : all)
    if (value_in(stored, key) != value_in(config, key))
      differences +=
          fmt::format("\n  {}: {} in the checkpoint, {} now", key, value_in(stored, key), value_in(config, key));
  if (!differences.empty())
    throw UserError(fmt::format(
        "checkpoint {} was made with another config, so going on would mix two runs:{}\nUse the same values, "
        "or another run folder",
        checkpoint.path.string(), differences));
}

}  // namespace lsd::io
