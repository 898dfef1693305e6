// SPDX-License-Identifier: Apache-2.0
#pragma once
// Text to value and back for one config field. Problems come back as words ("not a number"), because only the caller
// knows where the text stood.

#include <optional>
#include <string>
#include <string_view>

#include "lsd/core/config.h"

namespace lsd::config_internal {

std::string_view trimmed(std::string_view text);
// Stores the value; gives the problem, if there is one, and then stores nothing.
std::optional<std::string> parse_value(const ConfigValue& value, std::string_view text, const FieldInfo& info);
std::optional<std::string> problem_with(const ConfigValue& value, const FieldInfo& info);  // range, choices
std::string format_value(const ConfigValue& value);
std::string type_name(const ConfigValue& value);  // "NUMBER", "LIST", ...
std::string range_text(const FieldInfo& info);    // "0 to 1", "at least 1", "" without bounds
std::string choices_text(const FieldInfo& info);  // "nm, tn or mlm"

}  // namespace lsd::config_internal
