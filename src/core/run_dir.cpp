// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/run_dir.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "lsd/core/atomic_file.h"
#include "lsd/core/build_info.h"
#include "lsd/core/error.h"
#include "lsd/core/fault_point.h"
#include "lsd/core/host_name.h"
#include "lsd/core/json_text.h"
#include "lsd/core/partial_files.h"
#include "lsd/core/system_problem.h"
#include "run_remains_internal.h"

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

namespace lsd {
namespace {

constexpr std::pair<RunState, const char*> kStateFiles[] = {
    {RunState::done, "DONE"}, {RunState::failed, "FAILED"}, {RunState::stopped, "STOPPED"}};

std::string utc_now() {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
}

constexpr const char* kChooseAnother =
    "; choose a run folder where you may write, or ask who owns this place for the right to";

void make_folder(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder, error) && !fs::is_directory(folder))
    throw UserError(folder.string() + " is not a folder; choose another run folder");
  fs::create_directories(folder, error);
  if (error == std::errc::not_a_directory || error == std::errc::file_exists)
    throw UserError("cannot make the run folder " + folder.string() +
                    ": a part of this path is a file; choose another run folder");
  if (error)
    throw SystemError("cannot make the run folder " + folder.string() + ": " + error.message() + kChooseAnother);
  if (::access(folder.c_str(), W_OK | X_OK) != 0)
    throw SystemError("cannot write to the run folder " + folder.string() + ": " + std::strerror(errno) +
                      kChooseAnother);
}

void require_no_foreign_files(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    const bool of_a_run = is_partial(entry.path()) || (name == "attempts" && is_attempts_folder(entry.path()));
    if (!of_a_run)
      throw UserError("the run folder " + folder.string() + " holds files that no run made (" + name +
                      "); choose an empty or new folder");
  }
}

Json read_environment(const fs::path& file) {
  const std::string text = read_text_file(file);
  Json environment = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!environment.is_object() || !environment.contains("program") || !environment.contains("fingerprint"))
    throw DataError(file.string() + " is damaged or not ours; choose another run folder");
  return environment;
}

struct Identity {
  std::string program, fingerprint;
  friend bool operator==(const Identity&, const Identity&) = default;
};

Identity identity_in(const Json& environment) {
  return {environment.value("program", ""), environment.value("fingerprint", "")};
}

// When and where the folder's last start was, as its environment tells it.
std::string last_start(const Json& environment) {
  const auto starts = environment.value("starts", Json::array());
  if (starts.empty()) return "";
  return " (started " + starts.back().value("time", "") + " on " + starts.back().value("host", "") + ")";
}

// True when another run's folder may be taken over: nothing was made in it, and none of its starts goes on.
bool may_take_over(const Json& environment, const fs::path& folder, const Identity& ours) {
  const auto theirs = identity_in(environment);
  if (theirs == ours) return false;
  const std::string who = "the run folder " + folder.string() + " holds another run (" + theirs.program +
                          ", fingerprint " + theirs.fingerprint + "; this one is " + ours.program + ", " +
                          ours.fingerprint + ")";
  if (find_result(folder)) throw UserError(who + "; compare its config.cfg, or choose another folder");
  if (all_starts_ended(folder)) return true;
  throw UserError(who + ", which has made nothing yet and may still run" + last_start(environment) +
                  "; choose another folder, or remove this one when that start is dead");
}

void remove_state_files(const fs::path& folder) {
  for (const auto& [state, name] : kStateFiles) fs::remove(folder / name);
}

// What the other run's tasks made is not there, so their folders may be taken over as well.
void forget_finished_tasks(const fs::path& folder) {
  if (!fs::is_directory(folder / "tasks")) return;
  for (const auto& task : fs::directory_iterator(folder / "tasks"))
    if (fs::exists(task.path() / "DONE")) {
      fs::remove(task.path() / "metrics.jsonl");  // of what is gone
      fs::rename(task.path() / "DONE", task.path() / "STOPPED");
    }
}

}  // namespace

void claim_run_folder(const fs::path& folder, std::string_view program, std::string_view fingerprint) {
  make_folder(folder);
  const fs::path file = folder / "environment.json";
  const Identity ours{std::string(program), std::string(fingerprint)};
  const Json environment = {{"program", program}, {"fingerprint", fingerprint}, {"starts", Json::array()}};
  if (!fs::exists(file)) {
    try {
      require_no_foreign_files(folder);
    } catch (const UserError&) {
      if (!fs::exists(file)) throw;  // another job of this run came in between
    }
    const fs::path partial = partial_path(file);
    write_file_atomically(partial, json_text(environment, 2) + "\n");
    commit_file_once(partial, file);
  }
  try {
    if (!may_take_over(read_environment(file), folder, ours)) return;
  } catch (const UserError&) {
    if (identity_in(read_environment(file)) == ours) return;  // another job of this run took it over in between
    throw;
  }
  write_file_atomically(file, json_text(environment, 2) + "\n");
  remove_state_files(folder);
  fs::remove(folder / "config.cfg");
  forget_finished_tasks(folder);
}

RunDir::RunDir(fs::path folder, std::string_view program, std::string_view config_text, std::string_view fingerprint,
               int ranks, std::string_view backend)
    : folder_(std::move(folder)) {
  make_folder(folder_);
  const fs::path file = folder_ / "environment.json";
  const Json anew = {{"program", program}, {"fingerprint", fingerprint}, {"starts", Json::array()}};
  Json environment = anew;
  bool takes_over = false;
  was_here_ = fs::exists(file);
  if (was_here_) {
    environment = read_environment(file);
    takes_over = may_take_over(environment, folder_, {std::string(program), std::string(fingerprint)});
  } else {
    require_no_foreign_files(folder_);
  }
  if (takes_over) {
    environment = anew;
    was_here_ = false;
  }
  // Those of attempts may be another start's that still writes: the attempt that follows it clears up.
  remove_partials_if(folder_, [](const std::string& name) { return !attempt_in_partial(name); });
  environment["starts"].push_back({{"time", utc_now()},
                                   {"version", version()},
                                   {"git_revision", git_revision()},
                                   {"compiler", compiler()},
                                   {"libraries", libraries()},
                                   {"host", host_name()},
                                   {"ranks", ranks}});
  if (!backend.empty()) environment["starts"].back()["backend"] = backend;
  write_file_atomically(file, json_text(environment, 2) + "\n");
  write_file_atomically(folder_ / "config.cfg", config_text);
  if (takes_over) remove_state_files(folder_);
  fault_point("run.folder_opened");
}

RunState RunDir::state() const {
  for (const auto& [state, name] : kStateFiles)
    if (fs::exists(folder_ / name)) return state;
  return was_here_ ? RunState::running : RunState::fresh;
}

void RunDir::clear_state() {
  remove_state_files(folder_);
}

// The old state goes first: a crash in between leaves "running", never two states.
void commit_run_state(const fs::path& folder, RunState state, std::string_view reason) {
  const auto* file = std::find_if(std::begin(kStateFiles), std::end(kStateFiles),
                                  [&](const auto& entry) { return entry.first == state; });
  check(file != std::end(kStateFiles), "a run ends as done, stopped or failed");
  remove_state_files(folder);
  const Json text = {{"reason", reason}, {"time", utc_now()}, {"host", host_name()}};
  write_file_atomically(folder / file->second, json_text(text, 2) + "\n");
  fault_point("run.state_written");
}

bool commit_run_state_unless_ended(const fs::path& folder, RunState state, std::string_view reason) {
  for (const auto& [_, name] : kStateFiles)
    if (fs::exists(folder / name)) return false;
  commit_run_state(folder, state, reason);
  return true;
}

void RunDir::append_metrics(std::string_view json_line) {
  const fs::path file = folder_ / "metrics.jsonl";
  if (!metrics_.is_open()) metrics_.open(file, std::ios::app | std::ios::binary);
  metrics_ << json_line << '\n' << std::flush;
  if (!metrics_) throw SystemError("cannot append to " + file.string() + ": " + system_problem(errno));
}

void RunDir::mend_metrics() {
  const fs::path file = folder_ / "metrics.jsonl";
  if (!fs::exists(file)) return;
  metrics_.close();
  const std::string text = read_text_file(file);
  if (text.empty() || text.ends_with('\n')) return;
  write_file_atomically(file, text.substr(0, text.rfind('\n') + 1));
}

void RunDir::truncate_metrics_after(std::int64_t step) {
  const fs::path file = folder_ / "metrics.jsonl";
  if (!fs::exists(file)) return;
  metrics_.close();
  std::istringstream lines(read_text_file(file));
  std::string kept;
  std::int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const Json record = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    const bool torn = lines.eof();  // the last line has no end: the writer died within it
    if (!record.is_object() && !torn)
      throw DataError(file.string() + ":" + std::to_string(number) + ": not a JSON object; the file is damaged");
    if (torn || record.value("step", std::int64_t{0}) > step) continue;
    kept += line + '\n';
  }
  write_file_atomically(file, kept);
}

}  // namespace lsd
