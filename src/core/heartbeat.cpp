// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/heartbeat.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <tuple>
#include <utility>
#include <vector>

#include "lsd/core/ends_within.h"
#include "lsd/core/host_name.h"
#include "lsd/core/json_text.h"

namespace fs = std::filesystem;

namespace lsd {
namespace {

using Json = nlohmann::ordered_json;

fs::path file_of(const fs::path& folder, int rank) {
  return folder / fmt::format("rank-{:05}.json", rank);
}

std::int64_t seconds_since_1970() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

struct Beat {
  std::int64_t step = 0, time = 0;
  int rank = 0;
  std::string text;
};

Beat beat_of(const fs::path& folder, int rank) {
  std::ifstream stream(file_of(folder, rank));
  const auto json = Json::parse(stream, nullptr, false);
  if (!json.is_object()) return {.rank = rank, .text = fmt::format("rank {} (it has told nothing)", rank)};
  const auto step = json.value("step", std::int64_t{0}), time = json.value("time", std::int64_t{0});
  return {step, time, rank,
          fmt::format("rank {} on {} (pid {}), last heard of {} s ago, then for {} s in step {} ({})", rank,
                      json.value("host", "?"), json.value("pid", std::int64_t{0}), seconds_since_1970() - time,
                      json.value("phase_seconds", std::int64_t{0}), step, json.value("phase", "?"))};
}

}  // namespace

Heartbeat::Pace Heartbeat::pace_of(int ranks) {
  const std::chrono::milliseconds least(std::max(1000, 10 * ranks));
  return {.least = least, .most = std::max(least, std::chrono::milliseconds(5000))};
}

Heartbeat::Heartbeat(fs::path folder, int rank, Pace pace) : file_(file_of(folder, rank)), rank_(rank), pace_(pace) {
  write(place_);
  thread_ = std::thread([this] { run(); });
}

Heartbeat::~Heartbeat() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Heartbeat::note(std::int64_t step, const char* phase) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    place_ = {.step = step, .phase = phase};
    first = !std::exchange(changed_, true);
  }
  if (first) wake_.notify_all();
}

void Heartbeat::run() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, pace_.least, [this] { return stopping_; })) {
    wake_.wait_for(lock, pace_.most - pace_.least, [this] { return stopping_ || changed_; });
    changed_ = false;
    const Place place = place_;
    lock.unlock();
    write(place);
    lock.lock();
  }
}

void Heartbeat::write(const Place& place) const {
  const Json json = {
      {"rank", rank_},
      {"host", host_name()},
      {"pid", static_cast<std::int64_t>(::getpid())},
      {"step", place.step},
      {"phase", place.phase},
      {"phase_seconds", std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - place.since).count()},
      {"time", seconds_since_1970()}};
  auto aside = file_;
  aside += ".new";
  std::ofstream(aside) << json_text(json) << '\n';
  std::error_code ignored;
  fs::rename(aside, file_, ignored);
}

std::string who_is_missing(const fs::path& folder, int ranks, int rank, bool same_steps,
                           std::chrono::milliseconds limit) {
  const auto told = std::make_shared<std::vector<Beat>>();
  const bool answered = ends_within(limit, [told, folder, ranks, rank] {
    for (int other = 0; other < ranks; ++other)
      if (other != rank) told->push_back(beat_of(folder, other));
  });
  if (!answered) return fmt::format("{}, where ranks tell what they are at, does not answer", folder.string());
  auto& beats = *told;
  std::sort(beats.begin(), beats.end(), [](const Beat& a, const Beat& b) {
    return std::tie(a.time, a.step, a.rank) < std::tie(b.time, b.step, b.rank);
  });
  if (beats.empty()) return {};
  std::string text = "longest silent: " + beats[0].text;
  const auto behind =
      std::min_element(beats.begin(), beats.end(), [](const Beat& a, const Beat& b) { return a.step < b.step; });
  if (same_steps && behind->rank != beats[0].rank && behind->step < beats[0].step)
    text += "; furthest behind: " + behind->text;
  return text;
}

}  // namespace lsd
