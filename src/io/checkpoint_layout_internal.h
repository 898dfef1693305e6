// SPDX-License-Identifier: Apache-2.0
#pragma once
// Names and the state file that checkpoint writer and reader share.

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lsd/io/checkpoint.h"

namespace lsd::io {

inline constexpr const char* kStateFile = "state.json";
inline constexpr const char* kLatestFile = "latest";

std::string checkpoint_name(std::int64_t step);                     // "checkpoint-00001000"
std::optional<std::int64_t> step_of_name(const std::string& name);  // nullopt: not the name of a checkpoint

// The text guards itself: its first entry is the checksum of the text with that checksum's digits set to 0.
std::string state_text(const CheckpointState& state, const std::vector<WrittenFile>& files);
// Throws DataError naming `path`.
std::pair<CheckpointState, std::vector<WrittenFile>> parse_state(const std::filesystem::path& path,
                                                                 const std::string& text);

}  // namespace lsd::io
