// SPDX-License-Identifier: Apache-2.0
// What --print-config and --help show.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "config_value_internal.h"
#include "lsd/core/config.h"

namespace lsd {

using namespace config_internal;

namespace {

constexpr std::size_t kColumns = 100;
constexpr std::size_t kHelpColumn = 38;

std::string_view section_of(const ConfigField& field) {
  const auto dot = field.name.rfind('.');
  return dot == std::string::npos ? std::string_view() : std::string_view(field.name).substr(0, dot);
}

// Keys without a section first, because a file cannot name them after one; then sections as first declared.
template <class Visit>
void for_each_section(const std::vector<ConfigField>& fields, Visit&& visit) {
  std::vector<std::string_view> sections = {""};
  for (const auto& field : fields)
    if (std::ranges::find(sections, section_of(field)) == sections.end()) sections.push_back(section_of(field));
  for (const auto section : sections) {
    std::vector<const ConfigField*> members;
    for (const auto& field : fields)
      if (section_of(field) == section) members.push_back(&field);
    if (!members.empty()) visit(section, members);
  }
}

std::string details(const ConfigField& field) {
  std::vector<std::string> parts;
  const std::string value = format_value(field.value);
  parts.push_back(field.info.required && value.empty() ? "required" : "default " + (value.empty() ? "none" : value));
  if (!field.info.unit.empty()) parts.emplace_back(field.info.unit);
  if (const auto range = range_text(field.info); !range.empty()) parts.push_back(range);
  if (!field.info.choices.empty()) parts.push_back(choices_text(field.info));
  return fmt::format("({})", fmt::join(parts, "; "));
}

}  // namespace

std::string ConfigSchema::text() const {
  std::string text;
  for_each_section(fields_, [&](std::string_view section, const std::vector<const ConfigField*>& members) {
    if (!section.empty()) text += fmt::format("{}[{}]\n", text.empty() ? "" : "\n", section);
    for (const auto* field : members) {
      const auto key = std::string_view(field->name).substr(section.empty() ? 0 : section.size() + 1);
      const auto value = format_value(field->value);
      text += fmt::format("{} ={}{}\n", key, value.empty() ? "" : " ", value);
    }
  });
  return text;
}

std::string wrapped_text(std::string_view text, std::size_t indent) {
  std::string result;
  std::size_t column = indent;
  for (bool first = true; !text.empty(); first = false) {
    const auto end = std::min(text.find(' '), text.size());
    const auto word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!first && column + 1 + word.size() > kColumns) {
      result += '\n' + std::string(indent, ' ');
      column = indent;
    } else if (!first) {
      result += ' ';
      ++column;
    }
    result += word;
    column += word.size();
  }
  return result;
}

std::string help_entry(std::string_view option, std::string_view meaning) {
  std::string text = fmt::format("  {}", option);
  if (text.size() + 2 > kHelpColumn)
    text += '\n' + std::string(kHelpColumn, ' ');
  else
    text.resize(kHelpColumn, ' ');
  return text + wrapped_text(meaning, kHelpColumn) + '\n';
}

std::string ConfigSchema::help() const {
  std::string text;
  for_each_section(fields_, [&](std::string_view section, const std::vector<const ConfigField*>& members) {
    text += fmt::format("\n{}:\n", section.empty() ? "General" : section);
    for (const auto* field : members)
      text += help_entry(fmt::format("--{} {}", field->name, type_name(field->value)),
                         fmt::format("{} {}", field->info.help, details(*field)));
  });
  return text;
}

}  // namespace lsd
