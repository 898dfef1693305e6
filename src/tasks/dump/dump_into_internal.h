// SPDX-License-Identifier: Apache-2.0
#pragma once
// Per-protein means of a task's sequences as a dump: what a probe keeps in its run directory.

#include <filesystem>
#include <optional>
#include <string>

#include "lsd/tasks/dump_latents.h"

namespace lsd::tasks {

// Collective. Makes (or finds finished) the dump in a folder under `parent` that is named by what it holds, and returns
// that folder; nullopt when the run was told to stop.
std::optional<std::filesystem::path> dump_means(const FeatureConfig& features, const std::string& task_file,
                                                const std::filesystem::path& parent, Runtime& runtime);

}  // namespace lsd::tasks
