// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/command_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/program_options.hpp>
#include <map>

#include "config_value_internal.h"
#include "lsd/core/error.h"

namespace po = boost::program_options;

namespace lsd {
namespace {

struct RunOption {
  const char* name;
  const char* type;  // nullptr: a switch
  const char* meaning;
  bool needs_backend;
};
constexpr RunOption kRunOptions[] = {
    {"help", nullptr, "show this text", false},
    {"version", nullptr, "show version, git revision and libraries", false},
    {"config", "FILE", "read options from FILE; may be given several times, later files win", false},
    {"print-config", nullptr, "show every option with its value, in the form of a config file, and end", false},
    {"quiet", nullptr, "warnings and errors only", false},
    {"backend", "NAME",
     "what computes: cpu, cuda, reference (plain loops), checked (cpu against reference) or auto (cuda when there is a "
     "GPU, else cpu) (default auto)",
     true},
    {"threads", "INTEGER", "CPU threads of each rank (default 0: its share of the cores; 0 to 4096)", true},
    {"device", "INTEGER", "GPU number (default -1: by the rank's number on its machine; -1 to 1024)", true},
    {"collectives", "NAME",
     "what adds gradients over ranks: nccl (between GPUs, one rank each), staged (through host memory; ranks may share "
     "a "
     "GPU) or auto (nccl on the cuda backend where NCCL is found, else staged) (default auto)",
     true},
    {"collective-timeout", "SECONDS",
     "longest wait for the other ranks, after which the job ends and names who is missing (default 1800; 1 to 604800)",
     false},
    {"watchdog-timeout", "SECONDS",
     "longest time that a training, a dump, a probe or the writing of shards may go without any progress, after which "
     "this process ends and names its step and phase (default -1: collective-timeout and half of it again, at least "
     "60 s more; 0: never; -1 to 1000000)",
     false},
    {"deterministic", nullptr, "the same bits on every run, at some cost of speed (GPU; the CPU always is)", true},
};

const RunOption* find_run_option(std::string_view name, bool has_backend) {
  const auto* found = std::ranges::find_if(
      kRunOptions, [&](const auto& option) { return option.name == name && (has_backend || !option.needs_backend); });
  return found == std::end(kRunOptions) ? nullptr : found;
}

// --init-from=x means init_from=x.
std::string with_underscores(std::string argument, bool has_backend) {
  if (argument == "-h") return "--help";
  if (!argument.starts_with("--")) return argument;
  const auto end = std::min(argument.find('='), argument.size());
  if (find_run_option(argument.substr(2, end - 2), has_backend) == nullptr)
    std::replace(argument.begin() + 2, argument.begin() + static_cast<std::ptrdiff_t>(end), '-', '_');
  return argument;
}

po::options_description make_description(const ConfigSchema& schema, bool has_backend) {
  po::options_description description;
  for (const auto& option : kRunOptions) {
    if (find_run_option(option.name, has_backend) == nullptr) continue;
    if (option.type == nullptr) {
      description.add_options()(option.name, option.meaning);
    } else {
      description.add_options()(option.name, po::value<std::string>(), option.meaning);
    }
  }
  for (const auto& field : schema.fields())
    description.add_options()(field.name.c_str(), po::value<std::string>(), std::string(field.info.help).c_str());
  return description;
}

std::int64_t parse_integer(const std::string& text, const std::string& option, double min, double max) {
  std::int64_t value = 0;
  if (const auto problem = config_internal::parse_value(&value, text, {.min = min, .max = max}))
    throw UserError(fmt::format("--{} = {}: {}", option, text, *problem));
  return value;
}

// The options of the run; false when `name` is a config key.
bool store_run_option(CommandLine& line, const std::string& name, const std::string& text) {
  const std::map<std::string, bool*> switches = {{"help", &line.help},
                                                 {"version", &line.version},
                                                 {"print-config", &line.print_config},
                                                 {"quiet", &line.quiet},
                                                 {"deterministic", &line.deterministic}};
  if (const auto found = switches.find(name); found != switches.end()) {
    *found->second = true;
  } else if (name == "config") {
    line.config_files.emplace_back(text);
  } else if (name == "backend") {
    line.backend = text;
  } else if (name == "collective-timeout") {
    line.collective_timeout = parse_integer(text, name, 1, 604800);
  } else if (name == "watchdog-timeout") {
    line.watchdog_timeout = parse_integer(text, name, -1, 1000000);
  } else if (name == "collectives") {
    line.collectives = text;
  } else if (name == "threads") {
    line.threads = parse_integer(text, name, 0, 4096);
  } else if (name == "device") {
    line.device = parse_integer(text, name, -1, 1024);
  } else {
    return false;
  }
  return true;
}

// One more element of a list that may also be given as an option.
void store_word(CommandLine& line, std::string_view key, const std::string& word) {
  const auto found = std::ranges::find_if(line.values, [&](const auto& value) { return value.first == key; });
  if (found == line.values.end()) {
    line.values.emplace_back(key, word);
  } else {
    found->second += "," + word;
  }
}

void store_option(CommandLine& line, const po::option& option, const ConfigSchema& schema, std::string_view words_key) {
  const std::string& name = option.string_key;
  if (option.position_key >= 0 && !words_key.empty()) {
    for (const auto& word : option.value) store_word(line, words_key, word);
    return;
  }
  if (option.position_key >= 0)
    throw UserError(
        fmt::format("stray argument '{0}': a config file is given as --config {0}, a value as "
                    "--section.key=value",
                    option.value.empty() ? "" : option.value.front()));
  if (option.unregistered) throw UserError(fmt::format("unknown option --{}{}", name, schema.suggestion(name)));
  const std::string text = option.value.empty() ? "" : option.value.front();
  if (store_run_option(line, name, text)) return;
  const bool again = std::ranges::any_of(line.values, [&](const auto& value) { return value.first == name; });
  if (again) throw UserError(fmt::format("--{} is given twice", name));
  line.values.emplace_back(name, text);
}

}  // namespace

CommandLine parse_command_line(const ConfigSchema& schema, bool has_backend, const std::vector<std::string>& arguments,
                               std::string_view words_key) {
  std::vector<std::string> normalised;
  for (const auto& argument : arguments) normalised.push_back(with_underscores(argument, has_backend));
  const po::options_description description = make_description(schema, has_backend);
  using namespace po::command_line_style;
  CommandLine line;
  try {
    const auto parsed = po::command_line_parser(normalised)
                            .options(description)
                            .style(allow_long | long_allow_adjacent | long_allow_next)
                            .allow_unregistered()
                            .run();
    for (const auto& option : parsed.options) store_option(line, option, schema, words_key);
  } catch (const po::error& error) {
    throw UserError(fmt::format("command line: {}; see --help", error.what()));
  }
  return line;
}

std::int64_t watchdog_seconds(const CommandLine& line) {
  if (line.watchdog_timeout >= 0) return line.watchdog_timeout;
  return line.collective_timeout + std::max<std::int64_t>(line.collective_timeout / 2, 60);
}

std::string command_line_help(bool has_backend) {
  std::string text = "\nThe run:\n";
  for (const auto& option : kRunOptions)
    if (find_run_option(option.name, has_backend) != nullptr)
      text += help_entry(fmt::format("--{}{}{}", option.name, option.type == nullptr ? "" : " ",
                                     option.type == nullptr ? "" : option.type),
                         option.meaning);
  return text;
}

void apply_command_line(const CommandLine& line, ConfigSchema& schema, const ConfigSchema::ReadText& read_text) {
  for (const auto& file : line.config_files) schema.read_file(file, read_text);
  for (const auto& [name, text] : line.values) schema.set(name, text, "--" + name);
}

}  // namespace lsd
