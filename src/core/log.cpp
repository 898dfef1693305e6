// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <mutex>

namespace lsd {
namespace {

using Clock = std::chrono::steady_clock;

// One terminal per process: a line must wipe a bar that stands on it.
struct Terminal {
  std::mutex mutex;
  bool bar_drawn = false;
  const bool is_terminal = ::isatty(STDERR_FILENO) == 1;
};

Terminal& terminal() {
  static Terminal instance;
  return instance;
}

// One line, or several.
void write(std::string_view text) {
  const auto time = fmt::format("{:%Y-%m-%d %H:%M:%S} ", fmt::localtime(std::time(nullptr)));
  std::string lines = time;
  while (text.ends_with('\n')) text.remove_suffix(1);
  for (const char letter : text) {
    lines += letter;
    if (letter == '\n') lines += time;
  }
  lines += '\n';
  Terminal& screen = terminal();
  const std::lock_guard lock(screen.mutex);
  if (screen.bar_drawn) lines.insert(0, "\r\x1b[K");
  std::fwrite(lines.data(), 1, lines.size(), stderr);  // one call, so that lines of several ranks do not mix
  screen.bar_drawn = false;
}

std::string rank_note(const Log::Options& options) {
  return options.ranks > 1 ? fmt::format(" (rank {} of {})", options.rank, options.ranks) : "";
}

std::string with_unit(double value, double base, std::initializer_list<std::string_view> units) {
  const auto* unit = units.begin();
  while (std::abs(value) >= base * 0.9995 && unit + 1 != units.end()) {
    value /= base;
    ++unit;
  }
  const bool whole = unit == units.begin() && value == std::floor(value);
  const std::string number = whole ? fmt::format("{:.0f}", value) : fmt::format("{:.1f}", value);
  return unit->empty() ? number : number + " " + std::string(*unit);
}

}  // namespace

Log::Log(Options options) : options_(options) {}

void Log::info(std::string_view text) const {
  if (options_.root && !options_.quiet) write(text);
}

void Log::warn(std::string_view text) const {
  write(fmt::format("warning{}: {}", rank_note(options_), text));
}

void Log::error(std::string_view text) const {
  write(fmt::format("error{}: {}", rank_note(options_), text));
}

struct Progress::State {
  Log log;
  std::string label;
  std::int64_t total;
  std::string unit;
  std::int64_t first;
  std::int64_t done;
  std::string note;
  Clock::time_point start = Clock::now();
  Clock::time_point next = start;
  Clock::duration pause = std::chrono::seconds(2);  // between plain lines; doubles up to a minute
  bool finished = false;

  double seconds() const { return std::chrono::duration<double>(Clock::now() - start).count(); }
  double rate() const { return static_cast<double>(done - first) / std::max(seconds(), 1e-9); }
  bool speaks() const { return log.options().root && !log.options().quiet; }

  std::string numbers() const {
    const std::string text = progress_text(first, done, total, unit, seconds());
    return note.empty() ? text : text + "  " + note;
  }

  std::string bar() const {
    if (total <= 0) return "";
    constexpr int kCells = 24;
    const int full = static_cast<int>(std::clamp<double>(kCells * double(done) / double(total), 0, kCells));
    return fmt::format("[{:=<{}}{: <{}}] ", "", full, "", kCells - full);
  }

  void draw_bar() const {
    const std::string line = fmt::format("\r\x1b[K{} {}{}", label, bar(), numbers());
    Terminal& screen = terminal();
    const std::lock_guard lock(screen.mutex);
    std::fwrite(line.data(), 1, line.size(), stderr);
    screen.bar_drawn = true;
  }

  static void wipe_bar() {
    Terminal& screen = terminal();
    const std::lock_guard lock(screen.mutex);
    if (screen.bar_drawn) std::fputs("\r\x1b[K", stderr);
    screen.bar_drawn = false;
  }
};

Progress::Progress(const Log& log, std::string label, std::int64_t total, std::string unit, std::int64_t done)
    : state_(std::make_unique<State>(State{log, std::move(label), total, std::move(unit), done, done, {}})) {
  if (!terminal().is_terminal) state_->next += state_->pause;
}

Progress::~Progress() {
  if (!state_->finished && state_->speaks()) State::wipe_bar();
}

void Progress::update(std::int64_t done, std::string_view note) {
  State& state = *state_;
  state.done = done;
  const auto now = Clock::now();
  if (!state.speaks() || now < state.next) return;
  state.note = note;
  if (terminal().is_terminal) {
    state.draw_bar();
    state.next = now + std::chrono::milliseconds(100);
    return;
  }
  state.log.info(state.label + ": " + state.numbers());
  state.pause = std::min<Clock::duration>(state.pause * 2, std::chrono::seconds(60));
  state.next = now + state.pause;
}

void Progress::finish() {
  State& state = *state_;
  if (state.finished) return;
  state.finished = true;
  if (!state.speaks()) return;
  State::wipe_bar();
  state.log.info(fmt::format("{}: {} {} in {} ({} {}/s){}{}", state.label,
                             human_count(static_cast<double>(state.done - state.first)), state.unit,
                             human_duration(state.seconds()), human_count(state.rate()), state.unit,
                             state.note.empty() ? "" : "  ", state.note));
}

std::string progress_text(std::int64_t first, std::int64_t done, std::int64_t total, std::string_view unit,
                          double seconds) {
  const auto count = human_count(static_cast<double>(done));
  std::string text =
      total > 0 ? fmt::format("{:5.1f} %  {} of {} {}", 100.0 * static_cast<double>(done) / static_cast<double>(total),
                              count, human_count(static_cast<double>(total)), unit)
                : fmt::format("{} {}", count, unit);
  if (done <= first) return text;
  const double rate = static_cast<double>(done - first) / std::max(seconds, 1e-9);
  text += fmt::format("  {} {}/s", human_count(rate), unit);
  if (done < total) text += "  " + human_duration(static_cast<double>(total - done) / rate) + " left";
  return text;
}

std::string human_bytes(double bytes) {
  return with_unit(bytes, 1024, {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"});
}

std::string human_count(double count) {
  return with_unit(count, 1000, {"", "k", "M", "G", "T"});
}

std::string human_duration(double seconds) {
  if (!(seconds < 1e10)) return "unknown time";
  if (seconds < 9.95) return fmt::format("{:.1f} s", std::max(seconds, 0.0));
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{} s", whole);
  if (whole < 3600) return fmt::format("{} min {:02} s", whole / 60, whole % 60);
  const std::int64_t minutes = (whole + 30) / 60;
  if (minutes < 24 * 60) return fmt::format("{} h {:02} min", minutes / 60, minutes % 60);
  const std::int64_t hours = (minutes + 30) / 60;
  return fmt::format("{} d {:02} h", hours / 24, hours % 24);
}

}  // namespace lsd
