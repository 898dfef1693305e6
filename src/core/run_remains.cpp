// SPDX-License-Identifier: Apache-2.0
#include "run_remains_internal.h"

#include <algorithm>

#include "lsd/core/partial_files.h"

namespace fs = std::filesystem;

namespace lsd {
namespace {

// A launcher that puts the word of the start before aside, to know its own start's, calls it NAME.partial.
constexpr const char* kWordsOfAnEnd[] = {"FAILED", "STOPPED", "DONE", "FAILED.partial", "STOPPED.partial"};

bool holds_no_file(const fs::path& folder) {
  return std::all_of(fs::directory_iterator(folder), {}, [](const fs::directory_entry& entry) {
    return is_partial(entry.path()) || (entry.is_directory() && holds_no_file(entry.path()));
  });
}

bool is_task_folder(const fs::path& task) {
  return fs::is_directory(task) && (fs::exists(task / "DONE") || !find_result(task));
}

// DONE stands for something made, wherever that went.
bool is_about_the_run(const fs::directory_entry& entry) {
  const auto& path = entry.path();
  const std::string name = path.filename().string();
  if (is_partial(path)) return true;
  if (name == "attempts") return is_attempts_folder(path);
  if (name == "tasks" && entry.is_directory())
    return std::all_of(fs::directory_iterator(path), {},
                       [](const fs::directory_entry& task) { return is_task_folder(task.path()); });
  if (entry.is_directory()) return holds_no_file(path);
  if (name == "metrics.jsonl") return entry.file_size() == 0;
  return name == "config.cfg" || name == "environment.json" || name == "FAILED" || name == "STOPPED";
}

}  // namespace

std::optional<std::string> find_result(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder))
    if (!is_about_the_run(entry)) return entry.path().filename().string();
  return std::nullopt;
}

// A folder that tasks share is claimed, which leaves no config.cfg, and has no state before the set is complete.
bool all_starts_ended(const fs::path& folder) {
  const bool started = fs::exists(folder / "config.cfg");
  const bool ended = std::any_of(std::begin(kWordsOfAnEnd), std::end(kWordsOfAnEnd),
                                 [&](const char* name) { return fs::exists(folder / name); });
  if (started && !ended) return false;
  const auto tasks = folder / "tasks";
  return !fs::is_directory(tasks) ||
         std::all_of(fs::directory_iterator(tasks), {},
                     [](const fs::directory_entry& task) { return all_starts_ended(task.path()); });
}

bool is_attempts_folder(const fs::path& path) {
  return fs::is_directory(path) && std::all_of(fs::directory_iterator(path), {}, [](const fs::directory_entry& entry) {
           const std::string name = entry.path().filename().string();
           return is_partial(entry.path()) ||
                  (entry.is_directory() && name.find_first_not_of("0123456789") == std::string::npos);
         });
}

}  // namespace lsd
