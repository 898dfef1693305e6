// SPDX-License-Identifier: Apache-2.0
#pragma once
// From a struct that describes itself (config_field.h) to a program's options: read from files in
// Boost.Program_options' INI form, set from the command line, checked, printed back, hashed. Files hold
//
//   include = base.cfg        # before any section; relative to this file; this file's keys win
//   [optimizer]
//   learning_rate = 4e-4      # '#' starts a comment anywhere; a list is written a, b, c
//
// Unknown keys and sections, keys given twice in one file, wrong types and values out of range throw UserError, which
// names file and line (or the command-line option) and the nearest known key.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "lsd/core/config_field.h"

namespace lsd {

using ConfigValue =
    std::variant<bool*, std::int64_t*, double*, std::string*, std::vector<std::string>*, std::vector<double>*>;

struct ConfigField {
  std::string name;  // "optimizer.learning_rate"
  ConfigValue value;
  FieldInfo info;
};

// Points into the config that it describes, which must outlive it and stay where it is.
class ConfigSchema {
 public:
  // Gives a file's text; run_app hands in one that reads on rank 0 and broadcasts.
  using ReadText = std::function<std::string(const std::filesystem::path&)>;

  void add(std::string name, ConfigValue value, const FieldInfo& info);
  void add_rule(std::function<void()> rule) { rules_.push_back(std::move(rule)); }

  const std::vector<ConfigField>& fields() const { return fields_; }
  const ConfigField* find(std::string_view name) const;  // nullptr when there is none
  // `where` leads the message: "a.cfg:12" or "--optimizer.learning_rate".
  void set(std::string_view name, std::string_view text, std::string_view where);
  void read_file(const std::filesystem::path& path);
  void read_file(const std::filesystem::path& path, const ReadText& read_text);
  void validate() const;  // every value against its range and choices, required keys, then the rules

  std::string value_text(const ConfigField& field) const;
  bool is_as_before(const ConfigField& field) const;  // a key that older versions lack, at the value they had
  std::string text() const;                           // all keys with their values, itself a valid config file
  std::string help() const;  // by section: key, type, meaning, default, unit, range; at most 100 columns
  // 16 hexadecimal digits over keys and values whose name is, or lies under, one of `under` ("" is all) and none of
  // `except`. Does not depend on the order in which fields are declared.
  std::string fingerprint(const std::vector<std::string>& under = {""},
                          const std::vector<std::string>& except = {}) const;
  // "; did you mean optimizer.learning_rate?", or where to look when no key comes near.
  std::string suggestion(std::string_view unknown) const;

 private:
  std::vector<ConfigField> fields_;
  std::vector<std::function<void()>> rules_;
};

// The `field` argument of `visit`.
class ConfigFieldCollector {
 public:
  ConfigFieldCollector(ConfigSchema& schema, std::string prefix) : schema_(schema), prefix_(std::move(prefix)) {}

  template <class Value>
  void operator()(std::string_view name, Value& value, const FieldInfo& info) const {
    static_assert(std::is_constructible_v<ConfigValue, Value*>, "not a type that a config field can have");
    schema_.add(prefix_ + std::string(name), &value, info);
  }
  template <class Section>
  void section(std::string_view name, Section& section) const {
    collect(section, prefix_ + std::string(name) + ".");
  }
  template <class Config>
  void collect(Config& config, std::string prefix) const {
    Config::visit(config, ConfigFieldCollector(schema_, std::move(prefix)));
    if constexpr (requires { config.validate(); }) schema_.add_rule([&config] { config.validate(); });
  }

 private:
  ConfigSchema& schema_;
  std::string prefix_;
};

template <class Config>
ConfigSchema describe(Config& config) {
  ConfigSchema schema;
  ConfigFieldCollector(schema, "").collect(config, "");
  return schema;
}

// Words broken at 100 columns; lines after the first begin at column `indent`, where the first is taken to begin too.
std::string wrapped_text(std::string_view text, std::size_t indent);
// One option of a help text: the name on the left, its meaning wrapped at 100 columns on the right.
std::string help_entry(std::string_view option, std::string_view meaning);

// Files in order, later ones over earlier ones, then overrides of the form "section.key=value"; validated.
void load_into(ConfigSchema& schema, const std::vector<std::filesystem::path>& files,
               const std::vector<std::string>& overrides);
template <class Config>
Config load_config(const std::vector<std::filesystem::path>& files, const std::vector<std::string>& overrides = {}) {
  Config config;
  ConfigSchema schema = describe(config);
  load_into(schema, files, overrides);
  return config;
}

template <class Config>
std::string config_text(Config config) {
  return describe(config).text();
}
template <class Config>
std::string config_fingerprint(Config config, const std::vector<std::string>& under = {""},
                               const std::vector<std::string>& except = {}) {
  return describe(config).fingerprint(under, except);
}

}  // namespace lsd
