// SPDX-License-Identifier: Apache-2.0
#pragma once
// What starts that died, or that still write, leave half-written: *.partial. Those of numbered attempts (io/attempt.h)
// carry the number.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace lsd {

inline constexpr std::string_view kPartialSuffix = ".partial";

bool is_partial(const std::filesystem::path& path);

// The number in `<name>.a0003.<process>-<call>.partial`; nullopt in other names.
std::optional<std::int64_t> attempt_in_partial(const std::string& name);

// Removes partial files and folders in one folder whose names meet the condition.
void remove_partials_if(const std::filesystem::path& folder,
                        const std::function<bool(const std::string& name)>& condition);

}  // namespace lsd
