// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "config_value_internal.h"

namespace lsd::config_internal {
namespace {

using Problem = std::optional<std::string>;
using Strings = std::vector<std::string>;
using Numbers = std::vector<double>;

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const auto end = text.find(separator);
    parts.push_back(trimmed(text.substr(0, end)));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

Problem parse(std::string_view text, bool& value) {
  constexpr std::string_view kYes[] = {"true", "yes", "on", "1"};
  constexpr std::string_view kNo[] = {"false", "no", "off", "0"};
  const bool yes = std::ranges::find(kYes, text) != std::end(kYes);
  if (!yes && std::ranges::find(kNo, text) == std::end(kNo)) return "neither true nor false";
  value = yes;
  return {};
}

template <class Number>
Problem parse_number(std::string_view text, Number& value, std::string_view kind) {
  const std::string_view digits = text.starts_with('+') ? text.substr(1) : text;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error == std::errc::result_out_of_range) return fmt::format("too large for {}", kind);
  if (error != std::errc() || end != digits.data() + digits.size()) return fmt::format("not {}", kind);
  return {};
}

Problem parse(std::string_view text, std::int64_t& value) {
  return parse_number(text, value, "a whole number");
}

Problem parse(std::string_view text, double& value) {
  if (Problem problem = parse_number(text, value, "a number")) return problem;
  if (!std::isfinite(value)) return "not a finite number";
  return {};
}

// What the file form cannot hold is refused from the command line too, so that a run's config.cfg always reads back.
Problem parse(std::string_view text, std::string& value) {
  if (text.find_first_of("#\n\r") != std::string_view::npos) return "a value cannot hold '#' or a line break";
  value = text;
  return {};
}

template <class Element>
Problem parse(std::string_view text, std::vector<Element>& value) {
  value.clear();
  if (text.empty()) return {};
  for (const auto part : split(text, ',')) {
    if (part.empty()) return "an empty entry in the list";
    if (Problem problem = parse(part, value.emplace_back())) return fmt::format("'{}': {}", part, *problem);
  }
  return {};
}

Problem check_value(bool, const FieldInfo&) {
  return {};
}

Problem check_value(double value, const FieldInfo& info) {
  if (value < info.min || value > info.max || std::isnan(value))
    return fmt::format("{} is out of range ({})", value, range_text(info));
  return {};
}

Problem check_value(std::int64_t value, const FieldInfo& info) {
  return check_value(static_cast<double>(value), info);
}

Problem check_value(const std::string& value, const FieldInfo& info) {
  if (info.choices.empty()) return {};
  const auto choices = split(info.choices, '|');
  if (std::ranges::find(choices, value) != choices.end() || (value.empty() && info.required)) return {};
  return fmt::format("'{}' is not one of {}", value, choices_text(info));
}

template <class Element>
Problem check_value(const std::vector<Element>& values, const FieldInfo& info) {
  for (const auto& value : values)
    if (Problem problem = check_value(value, info)) return problem;
  return {};
}

std::string format(bool value) {
  return value ? "true" : "false";
}
std::string format(std::int64_t value) {
  return std::to_string(value);
}
std::string format(double value) {
  return fmt::format("{}", value);
}  // the shortest that reads back to the same bits
std::string format(const std::string& value) {
  return value;
}
std::string format(const Strings& values) {
  return fmt::format("{}", fmt::join(values, ", "));
}
std::string format(const Numbers& values) {
  return fmt::format("{}", fmt::join(values, ", "));
}

}  // namespace

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const auto first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

Problem parse_value(const ConfigValue& value, std::string_view text, const FieldInfo& info) {
  return std::visit(
      [&](auto* target) -> Problem {
        std::remove_pointer_t<decltype(target)> parsed{};
        if (Problem problem = parse(trimmed(text), parsed)) return problem;
        if (Problem problem = check_value(parsed, info)) return problem;
        *target = std::move(parsed);
        return {};
      },
      value);
}

Problem problem_with(const ConfigValue& value, const FieldInfo& info) {
  return std::visit([&](const auto* target) { return check_value(*target, info); }, value);
}

std::string format_value(const ConfigValue& value) {
  return std::visit([](const auto* target) { return format(*target); }, value);
}

std::string type_name(const ConfigValue& value) {
  constexpr const char* kNames[] = {"BOOL", "INTEGER", "NUMBER", "TEXT", "LIST", "NUMBERS"};
  static_assert(std::size(kNames) == std::variant_size_v<ConfigValue>);
  return kNames[value.index()];
}

std::string range_text(const FieldInfo& info) {
  const bool below = std::isfinite(info.min);
  const bool above = std::isfinite(info.max);
  if (below && above) return fmt::format("{} to {}", info.min, info.max);
  if (below) return fmt::format("at least {}", info.min);
  return above ? fmt::format("at most {}", info.max) : "";
}

std::string choices_text(const FieldInfo& info) {
  std::string text;
  const auto choices = split(info.choices, '|');
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (i > 0) text += i + 1 == choices.size() ? " or " : ", ";
    text += choices[i].empty() ? "nothing" : choices[i];
  }
  return text;
}

}  // namespace lsd::config_internal
