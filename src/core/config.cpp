// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "config_value_internal.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"

namespace lsd {

using namespace config_internal;

namespace {

// Levenshtein: insertions, deletions and replacements that turn one into the other.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = std::exchange(row[j + 1], std::min({replaced, row[j] + 1, row[j + 1] + 1}));
    }
  }
  return row.back();
}

std::string_view last_part(std::string_view name) {
  return name.substr(name.rfind('.') + 1);
}

bool lies_under(std::string_view name, const std::vector<std::string>& places) {
  return std::ranges::any_of(places, [&](const std::string& place) {
    return place.empty() || name == place || name.starts_with(place + ".");
  });
}

bool is_empty(const ConfigField& field) {
  return std::visit(
      [](const auto* value) {
        if constexpr (requires { value->empty(); }) return value->empty();
        return false;
      },
      field.value);
}

}  // namespace

void ConfigSchema::add(std::string name, ConfigValue value, const FieldInfo& info) {
  check(find(name) == nullptr, "a config key is declared once: " + name);
  fields_.push_back({std::move(name), value, info});
}

const ConfigField* ConfigSchema::find(std::string_view name) const {
  const auto found = std::ranges::find(fields_, name, &ConfigField::name);
  return found == fields_.end() ? nullptr : &*found;
}

void ConfigSchema::set(std::string_view name, std::string_view text, std::string_view where) {
  const ConfigField* field = find(name);
  if (field == nullptr) throw UserError(fmt::format("{}: unknown key {}{}", where, name, suggestion(name)));
  if (const auto problem = parse_value(field->value, text, field->info))
    throw UserError(fmt::format("{}: {} = {}: {}; {}", where, name, trimmed(text), *problem, field->info.help));
}

void ConfigSchema::validate() const {
  for (const auto& field : fields_) {
    if (const auto problem = problem_with(field.value, field.info))
      throw UserError(fmt::format("{} = {}: {}; {}", field.name, value_text(field), *problem, field.info.help));
    if (field.info.required && is_empty(field))
      throw UserError(
          fmt::format("{0} must be given ({1}), in a config file or as --{0}=...", field.name, field.info.help));
  }
  for (const auto& rule : rules_) rule();
}

std::string ConfigSchema::value_text(const ConfigField& field) const {
  return format_value(field.value);
}

bool ConfigSchema::is_as_before(const ConfigField& field) const {
  return !field.info.value_before.empty() && value_text(field) == field.info.value_before;
}

std::string ConfigSchema::fingerprint(const std::vector<std::string>& under,
                                      const std::vector<std::string>& except) const {
  std::vector<std::string> lines;
  for (const auto& field : fields_)
    if (lies_under(field.name, under) && !lies_under(field.name, except) && !is_as_before(field))
      lines.push_back(field.name + "=" + value_text(field) + "\n");
  std::ranges::sort(lines);
  return checksum_hex(checksum64(std::accumulate(lines.begin(), lines.end(), std::string())));
}

// A key of the same last part in another section is the likelier slip than a misspelt one.
std::string ConfigSchema::suggestion(std::string_view unknown) const {
  const ConfigField* best = nullptr;
  std::size_t best_distance = 1 + std::max<std::size_t>(2, unknown.size() / 4);
  for (const auto& field : fields_) {
    const bool moved = last_part(field.name) == last_part(unknown);
    const std::size_t distance = moved ? 1 : edit_distance(field.name, unknown);
    if (distance >= best_distance) continue;
    best = &field;
    best_distance = distance;
  }
  return best == nullptr ? "; see --help for all keys" : "; did you mean " + best->name + "?";
}

void load_into(ConfigSchema& schema, const std::vector<std::filesystem::path>& files,
               const std::vector<std::string>& overrides) {
  for (const auto& file : files) schema.read_file(file);
  for (const auto& text : overrides) {
    const auto equals = text.find('=');
    if (equals == std::string::npos) throw UserError("'" + text + "' is not of the form section.key=value");
    schema.set(trimmed(std::string_view(text).substr(0, equals)), std::string_view(text).substr(equals + 1), text);
  }
  schema.validate();
}

}  // namespace lsd
