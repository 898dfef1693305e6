// SPDX-License-Identifier: Apache-2.0
#pragma once
// The command line of every program: a few options of the run itself, and --section.key=value for every config key
// ("-" and "_" are the same in a key's name). Unknown options, options given twice and stray words throw UserError.

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "lsd/core/config.h"

namespace lsd {

struct CommandLine {
  std::vector<std::filesystem::path> config_files;          // in the order given
  std::vector<std::pair<std::string, std::string>> values;  // config key, text
  bool help = false;
  bool version = false;
  bool print_config = false;
  bool quiet = false;
  std::int64_t collective_timeout = 1800;  // seconds
  std::int64_t watchdog_timeout = -1;      // seconds; -1: from the one above; 0: never
  // Only programs that compute have these.
  std::string backend = "auto";
  std::int64_t threads = 0;  // 0: this rank's share of the cores
  std::string collectives = "auto";
  std::int64_t device = -1;  // -1: by the rank's number on its machine
  bool deterministic = false;
};

// Words without "--" become values of the list `words_key`; without one they are refused.
CommandLine parse_command_line(const ConfigSchema& schema, bool has_backend, const std::vector<std::string>& arguments,
                               std::string_view words_key = {});
// Seconds without progress after which a process ends itself; 0: never. Longer than the wait for other ranks unless
// given: who waits in vain ends first, and names the rank that is missing.
std::int64_t watchdog_seconds(const CommandLine& line);
std::string command_line_help(bool has_backend);  // the part of --help above the config keys
// Config files, then the command line's values, into what `schema` describes. Validates nothing across keys.
void apply_command_line(const CommandLine& line, ConfigSchema& schema, const ConfigSchema::ReadText& read_text);

}  // namespace lsd
