// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/fault_point.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lsd/core/error.h"

namespace lsd {
namespace {

enum class Action { kill, exit, stall, stop, raise, no_space, poison };

constexpr std::pair<std::string_view, Action> kActions[] = {
    {"kill", Action::kill},   {"exit", Action::exit},       {"stall", Action::stall},  {"stop", Action::stop},
    {"throw", Action::raise}, {"enospc", Action::no_space}, {"poison", Action::poison}};

struct Fault {
  std::string name;
  std::int64_t nth = 1;
  std::optional<std::int64_t> rank;
  Action action = Action::kill;
  std::atomic<std::int64_t> times = 0;  // the point was reached
};

// Threads read this while it does not change; see arm_faults.
std::vector<std::unique_ptr<Fault>>& armed() {
  static std::vector<std::unique_ptr<Fault>> faults;
  return faults;
}

[[noreturn]] void refuse(std::string_view entry, const std::string& why) {
  throw UserError(fmt::format("LSD_FAULT: '{}' {}; write name[#nth][@rank]=action", entry, why));
}

Action parse_action(std::string_view entry, std::string_view text) {
  std::vector<std::string_view> known;
  for (const auto& [name, action] : kActions) {
    if (name == text) return action;
    known.push_back(name);
  }
  refuse(entry, fmt::format("has no action of {}", fmt::join(known, ", ")));
}

// Takes what follows the last `mark` off `text`, as a number of at least `least`.
std::optional<std::int64_t> take_number(std::string_view entry, std::string_view& text, char mark, std::int64_t least) {
  const auto at = text.rfind(mark);
  if (at == std::string_view::npos) return std::nullopt;
  const auto digits = text.substr(at + 1);
  std::int64_t number = 0;
  const auto end = digits.data() + digits.size();
  if (digits.empty() || std::from_chars(digits.data(), end, number).ptr != end || number < least)
    refuse(entry, fmt::format("needs a whole number of at least {} behind '{}'", least, mark));
  text = text.substr(0, at);
  return number;
}

std::unique_ptr<Fault> parse_fault(std::string_view entry) {
  auto fault = std::make_unique<Fault>();
  const auto equals = entry.find('=');
  if (equals == std::string_view::npos) refuse(entry, "names no action");
  fault->action = parse_action(entry, entry.substr(equals + 1));
  auto name = entry.substr(0, equals);
  fault->rank = take_number(entry, name, '@', 0);
  fault->nth = take_number(entry, name, '#', 1).value_or(1);
  if (!is_fault_name(name)) refuse(entry, fmt::format("is none of the points {}", fmt::join(kFaultNames, ", ")));
  fault->name = name;
  return fault;
}

// True when the caller shall spoil its data.
bool act(const Fault& fault) {
  switch (fault.action) {
    case Action::kill:
      ::kill(::getpid(), SIGKILL);
      [[fallthrough]];  // the signal may take a moment: go no further
    case Action::stall:
      while (true) ::pause();
    case Action::stop:
      ::raise(SIGSTOP);
      return false;
    case Action::exit:
      ::_exit(1);
    case Action::raise:
      throw SystemError("injected fault at " + fault.name);
    case Action::no_space:
      throw SystemError("cannot write at " + fault.name + ": " + std::strerror(ENOSPC));
    case Action::poison:
      return true;
  }
  return false;
}

}  // namespace

namespace detail {

std::atomic<bool> faults_armed = false;

bool reach_fault_point(std::string_view name) {
  bool poisoned = false;
  for (const auto& fault : armed())
    if (fault->name == name && fault->times.fetch_add(1) + 1 == fault->nth) poisoned = act(*fault) || poisoned;
  return poisoned;
}

}  // namespace detail

void arm_faults(std::string_view specification, int rank) {
  std::vector<std::unique_ptr<Fault>> faults;
  while (!specification.empty()) {
    const auto comma = std::min(specification.find(','), specification.size());
    auto fault = parse_fault(specification.substr(0, comma));
    if (fault->rank.value_or(rank) == rank) faults.push_back(std::move(fault));
    specification.remove_prefix(std::min(comma + 1, specification.size()));
  }
  armed() = std::move(faults);
  detail::faults_armed = !armed().empty();
}

}  // namespace lsd
