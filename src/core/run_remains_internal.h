// SPDX-License-Identifier: Apache-2.0
#pragma once
// What earlier starts left in a run folder: a start that was refused (an option to mend, a full disk) leaves its own
// papers and nothing else, and shall not keep the mended command out.

#include <filesystem>
#include <optional>
#include <string>

namespace lsd {

// The first thing below `folder` that is worth keeping; nullopt when runs wrote only about themselves: options,
// environment, state, attempts, empty metrics, folders without files.
std::optional<std::string> find_result(const std::filesystem::path& folder);
// Whether all starts have said how they ended: the folder's last one and those of its tasks/. One that was killed, or
// that still runs, has not.
bool all_starts_ended(const std::filesystem::path& folder);
// attempts/ as starts of ours make it: nothing but numbered folders and partial files.
bool is_attempts_folder(const std::filesystem::path& path);

}  // namespace lsd
