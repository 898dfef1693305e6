// SPDX-License-Identifier: Apache-2.0
// Config files: Boost.Program_options' INI form, read by us because its parser cannot name lines.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>

#include "config_value_internal.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/config.h"
#include "lsd/core/error.h"

namespace fs = std::filesystem;

namespace lsd {

using namespace config_internal;

namespace {

struct Assignment {
  std::string name;
  std::string text;
  std::string where;  // file:line
};

class FileReader {
 public:
  FileReader(const ConfigSchema& schema, const ConfigSchema::ReadText& read_text)
      : schema_(schema), read_text_(read_text) {}

  // What the file says, after what its included files say.
  std::vector<Assignment> read(const fs::path& path, const std::string& included_at) {
    const fs::path file = path.lexically_normal();
    if (std::ranges::find(open_, file) != open_.end())
      throw UserError(
          fmt::format("{}: includes itself: {} -> {}", included_at, fmt::join(names(), " -> "), file.string()));
    const std::string text =
        with_context(included_at.empty() ? "while reading the options" : "included at " + included_at,
                     [&] { return read_text_(file); });
    open_.push_back(file);
    auto assignments = parse(file, text);
    open_.pop_back();
    return assignments;
  }

 private:
  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const auto& path : open_) result.push_back(path.string());
    return result;
  }

  std::vector<Assignment> parse(const fs::path& file, std::string_view text) {
    std::vector<Assignment> included;
    std::vector<Assignment> own;
    std::map<std::string, std::string> seen;
    std::string section;
    if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // a byte order mark
    for (int number = 1; !text.empty(); ++number) {
      const auto end = std::min(text.find('\n'), text.size());
      const auto line = trimmed(text.substr(0, std::min(end, text.find('#'))));
      text.remove_prefix(std::min(end + 1, text.size()));
      if (line.empty()) continue;
      const std::string where = file.string() + ":" + std::to_string(number);
      if (line.starts_with('[')) {
        section = parse_section(line, where);
        continue;
      }
      Assignment assignment = parse_assignment(line, section, where);
      if (assignment.name == "include") {
        std::ranges::move(read(file.parent_path() / assignment.text, where), std::back_inserter(included));
        continue;
      }
      const auto [first, is_new] = seen.emplace(assignment.name, where);
      if (!is_new)
        throw UserError(fmt::format("{}: {} is given twice in this file, first at {}; remove one", where,
                                    assignment.name, first->second));
      own.push_back(std::move(assignment));
    }
    std::ranges::move(own, std::back_inserter(included));
    return included;
  }

  std::string parse_section(std::string_view line, const std::string& where) const {
    if (!line.ends_with(']')) throw UserError(fmt::format("{}: '{}': a section is written [name]", where, line));
    const std::string section(trimmed(line.substr(1, line.size() - 2)));
    std::set<std::string> known;
    for (const auto& field : schema_.fields())
      for (auto dot = field.name.find('.'); dot != std::string::npos; dot = field.name.find('.', dot + 1))
        known.insert(field.name.substr(0, dot));
    if (!known.contains(section))
      throw UserError(
          fmt::format("{}: unknown section [{}]; the sections are {}", where, section, fmt::join(known, ", ")));
    return section + ".";
  }

  static Assignment parse_assignment(std::string_view line, const std::string& section, const std::string& where) {
    const auto equals = line.find('=');
    if (equals == std::string_view::npos)
      throw UserError(fmt::format("{}: '{}' is neither 'key = value' nor '[section]' nor '# comment'", where, line));
    const std::string name(trimmed(line.substr(0, equals)));
    if (name.empty()) throw UserError(fmt::format("{}: no key before '='", where));
    if (name == "include" && !section.empty()) throw UserError(where + ": 'include' stands before the first section");
    return {section + name, std::string(trimmed(line.substr(equals + 1))), where};
  }

  const ConfigSchema& schema_;
  const ConfigSchema::ReadText& read_text_;
  std::vector<fs::path> open_;  // the files that are being read, outermost first
};

}  // namespace

void ConfigSchema::read_file(const fs::path& path) {
  read_file(path, read_text_file);
}

void ConfigSchema::read_file(const fs::path& path, const ReadText& read_text) {
  for (const auto& assignment : FileReader(*this, read_text).read(path, ""))
    set(assignment.name, assignment.text, assignment.where);
}

}  // namespace lsd
