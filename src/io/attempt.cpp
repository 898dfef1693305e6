// SPDX-License-Identifier: Apache-2.0
#include "lsd/io/attempt.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "lsd/core/host_name.h"
#include "lsd/core/json_text.h"
#include "lsd/core/partial_files.h"
#include "lsd/core/system_problem.h"

namespace fs = std::filesystem;

namespace lsd::io {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFolder = "attempts";
constexpr const char* kInfoFile = "attempt.json";

std::string name_of(std::int64_t number) {
  return fmt::format("{:04}", number);
}

fs::path folder_of(const fs::path& directory, std::int64_t number) {
  return directory / kFolder / name_of(number);
}

std::optional<std::int64_t> number_from(std::string_view text) {
  std::int64_t number = 0;
  const auto* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, number);
  if (text.size() < 4 || result.ec != std::errc() || result.ptr != end || number < 1) return std::nullopt;
  return number;
}

std::int64_t newest_number(const fs::path& directory) {
  std::int64_t newest = 0;
  std::error_code error;
  for (fs::directory_iterator entry(directory / kFolder, error), end; !error && entry != end; entry.increment(error))
    newest = std::max(newest, number_from(entry->path().filename().string()).value_or(0));
  return newest;
}

// The job as its batch system names it; a job that was requeued keeps its id and counts restarts.
std::string job_name() {
  const char* id = std::getenv("SLURM_JOB_ID");
  if (id == nullptr) return {};
  const char* restarts = std::getenv("SLURM_RESTART_COUNT");
  return restarts == nullptr || std::string_view(restarts) == "0" ? std::string(id)
                                                                  : fmt::format("{} (restart {})", id, restarts);
}

AttemptInfo info_of(const fs::path& directory, std::int64_t number) {
  AttemptInfo info{.number = number};
  try {
    const auto json = Json::parse(read_text_file(folder_of(directory, number) / kInfoFile), nullptr, false);
    if (!json.is_object()) return info;
    info.host = json.value("host", "");
    info.pid = json.value("pid", std::int64_t{0});
    info.job = json.value("job", "");
    info.time = json.value("time", "");
  } catch (const Error&) {  // its process has not come so far, or died before
  } catch (const Json::exception&) {
  }
  return info;
}

std::string text_of(const AttemptInfo& info) {
  if (info.host.empty()) return fmt::format("attempt {}", info.number);
  return fmt::format("attempt {} (host {}, pid {}{}{}, begun {})", info.number, info.host, info.pid,
                     info.job.empty() ? "" : ", job ", info.job, info.time);
}

}  // namespace

Attempt Attempt::begin(const fs::path& directory) {
  std::error_code error;
  fs::create_directories(directory / kFolder, error);
  if (error)
    throw SystemError(
        fmt::format("cannot make the folder {}: {}", (directory / kFolder).string(), system_problem(error.value())));
  auto number = newest_number(directory) + 1;
  while (::mkdir(folder_of(directory, number).c_str(), 0777) != 0) {
    if (errno != EEXIST)
      throw SystemError(
          fmt::format("cannot make the folder {}: {}", folder_of(directory, number).string(), system_problem(errno)));
    ++number;
  }
  const Json info = {{"host", host_name()},
                     {"pid", static_cast<std::int64_t>(::getpid())},
                     {"job", job_name()},
                     {"time", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)))}};
  write_file_atomically(folder_of(directory, number) / kInfoFile, json_text(info, 2) + "\n");
  Attempt attempt(directory, number);
  attempt.remove_older_partials(directory / kFolder);
  return attempt;
}

Attempt Attempt::join(fs::path directory, std::int64_t number) {
  check(number > 0, "attempts count from 1");
  return {std::move(directory), number};
}

fs::path Attempt::folder() const {
  return folder_of(directory_, number_);
}

bool Attempt::is_current() const {
  // A change of the folder of our own makes a network file system's client fetch its list anew.
  const auto probe = directory_ / kFolder / fmt::format("check-{}", partial_path("").string());
  const int file = ::open(probe.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file >= 0) {
    ::close(file);
    ::unlink(probe.c_str());
  }
  return newest_number(directory_) <= number_;
}

void Attempt::check_current() const {
  if (is_current()) return;
  throw SystemError(fmt::format(
      "{} of {} has been superseded by {}: that one goes on with this run, so this one ends and writes nothing more; "
      "start one job per run folder",
      text_of(info_of(directory_, number_)), directory_.string(), text_of(newest_attempt(directory_))));
}

fs::path Attempt::partial_path(const fs::path& path) const {
  fs::path named = path.has_filename() || path.empty() ? path : path.parent_path();
  named += ".a" + name_of(number_);
  return lsd::partial_path(named);
}

void Attempt::write_file(const fs::path& path, std::string_view text) const {
  check_current();
  const auto partial = partial_path(path);
  try {
    write_file_atomically(partial, text);
    commit_file(partial, path);
  } catch (...) {
    std::error_code ignored;
    fs::remove(partial, ignored);
    throw;
  }
}

void Attempt::remove_older_partials(const fs::path& folder) const {
  std::vector<fs::path> leftovers;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    if (const auto number = attempt_in_partial(entry->path().filename().string()); number && *number < number_)
      leftovers.push_back(entry->path());
  // One that still writes may add files meanwhile: what cannot be removed now is removed next time.
  for (const auto& leftover : leftovers) fs::remove_all(leftover, error);
}

AttemptInfo newest_attempt(const fs::path& directory) {
  const auto number = newest_number(directory);
  return number == 0 ? AttemptInfo{} : info_of(directory, number);
}

}  // namespace lsd::io
