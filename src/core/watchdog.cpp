// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/watchdog.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "lsd/core/ends_within.h"
#include "lsd/core/host_name.h"

namespace lsd {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr int kLooksPerLimit = 20;
constexpr int kExitCode = 1;  // as of any failure
// For the line: where it goes may hang as well.
constexpr seconds kTimeToTell{5};

nanoseconds interval_of(milliseconds limit) {
  return std::clamp<nanoseconds>(limit / kLooksPerLimit, milliseconds(5), seconds(1));
}

}  // namespace

nanoseconds Standstill::look(std::uint64_t count, nanoseconds since_last_look) {
  still_ = count == count_ ? still_ + std::min(since_last_look, most_) : nanoseconds(0);
  count_ = count;
  return still_;
}

Watchdog::Watchdog(Options options) : options_(std::move(options)) {
  if (options_.limit > milliseconds(0)) thread_ = std::thread([this] { watch(); });
}

Watchdog::~Watchdog() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void Watchdog::tell_others(std::shared_ptr<Heartbeat> heartbeat) {
  heartbeat_ = std::move(heartbeat);
  const char* phase = phase_.load(std::memory_order_relaxed);
  if (heartbeat_ && phase != nullptr) heartbeat_->note(step_.load(std::memory_order_relaxed), phase);
}

void Watchdog::note(std::int64_t step, const char* phase) {
  step_.store(step, std::memory_order_relaxed);
  phase_.store(phase, std::memory_order_relaxed);
  progress();
  if (heartbeat_) heartbeat_->note(step, phase);
}

void Watchdog::rest() {
  phase_.store(nullptr, std::memory_order_relaxed);
  progress();
  if (heartbeat_) heartbeat_->note(step_.load(std::memory_order_relaxed), "behind it");
}

void Watchdog::watch() {
  const auto interval = interval_of(options_.limit);
  Standstill standstill(2 * interval);
  auto last = std::chrono::steady_clock::now();
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, interval, [this] { return stopping_; })) {
    const auto now = std::chrono::steady_clock::now();
    const auto still = standstill.look(count_.load(std::memory_order_relaxed), now - last);
    last = now;
    if (still <= options_.limit || phase_.load(std::memory_order_relaxed) == nullptr) continue;
    tell(text(still));
    options_.end();
    return;
  }
}

std::string Watchdog::text(nanoseconds still) const {
  const char* phase = phase_.load(std::memory_order_relaxed);
  return fmt::format(
      "{} on {} (pid {}) made no progress for {:.0f} s in step {} ({}) and ends itself: a file system or a device does "
      "not answer, or --watchdog-timeout is too short for this work. The same command goes on from what is finished",
      options_.who, host_name(), ::getpid(), std::chrono::duration<double>(still).count(),
      step_.load(std::memory_order_relaxed), phase != nullptr ? phase : "at rest");
}

void Watchdog::tell(const std::string& line) const {
  ends_within(kTimeToTell, [line, tell = options_.tell] {
    if (tell) tell(line);
  });
}

void Watchdog::exit_now() {
  ::_exit(kExitCode);  // no destructor, no flush: they might wait for what hangs
}

}  // namespace lsd
