// SPDX-License-Identifier: Apache-2.0
#include "lsd/apps/run_app.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <optional>
#include <thread>

#include "lsd/backends/cuda_device.h"
#include "lsd/core/build_info.h"
#include "lsd/core/error.h"
#include "lsd/core/fault_point.h"
#include "lsd/core/run_dir.h"
#include "startup_internal.h"

namespace lsd::apps {
namespace {

void print_to(std::FILE* stream, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stream);
  std::fflush(stream);
}

// Every exception as the text that people read.
std::string text_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::bad_alloc&) {
    return "out of memory";
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "unknown error";
  }
}

struct Compute {
  std::unique_ptr<Backend> backend;
  std::unique_ptr<dist::TensorCollectives> collectives;
};

std::string faults_asked_for() {
  const char* faults = std::getenv("LSD_FAULT");
  return faults == nullptr ? "" : faults;
}

Compute make_compute(const AppInfo& info, const CommandLine& line, dist::HostCommunicator& ranks) {
  Compute compute;
  if (!info.needs_backend) return compute;
  together(ranks, [&] { compute.backend = backends::make_backend(line.backend, backend_options(line, ranks)); });
  together(ranks, [&] {
    const auto gpu = backends::cuda_device_of(*compute.backend);
    compute.collectives = dist::make_collectives(
        line.collectives, *compute.backend, ranks,
        {.gpu = gpu.uuid,
         .deterministic = line.deterministic,
         .deadline = std::chrono::seconds(line.collective_timeout),
         .allocate_on_host = gpu.present() ? backends::allocate_page_locked : dist::HostAllocator()});
  });
  return compute;
}

std::shared_ptr<Watchdog> make_watchdog(const CommandLine& line, const Log& log) {
  return std::make_shared<Watchdog>(
      Watchdog::Options{.limit = std::chrono::seconds(watchdog_seconds(line)),
                        .who = fmt::format("rank {} of {}", log.options().rank, log.options().ranks),
                        .tell = [&log](const std::string& text) { log.error(text); }});
}

ErrorKind kind_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    return error.kind();
  } catch (...) {
    return ErrorKind::internal;
  }
}

// A run whose ranks lost each other has not failed: it can go on from what is finished, and a chain of jobs shall do
// so. Where a rank failed for a reason of its own, that reason counts, whoever is first.
void commit_end(const tasks::Runtime& runtime, bool peer_lost, const std::string& reason) {
  if (runtime.run_folder.empty()) return;
  try {
    if (!runtime.owns_run_folder()) return;
    if (peer_lost)
      commit_run_state_unless_ended(runtime.run_folder, RunState::stopped, reason);
    else
      commit_run_state(runtime.run_folder, RunState::failed, reason);
  } catch (const std::exception& error) {
    runtime.log.warn(fmt::format("the run folder's state could not be written: {}", error.what()));
  }
}

// Tells the error and ends the job. Rank 0 goes first and its launcher's SIGTERM ends the waiting others: an error that
// all ranks meet is then told once. Who only lost another rank lets that one speak first.
int fail(const std::exception_ptr& failure, const tasks::Runtime& runtime) {
  const int rank = runtime.ranks.rank();
  std::signal(SIGTERM, SIG_DFL);
  const bool peer_lost = kind_of(failure) == ErrorKind::peer;
  if (rank > 0 || peer_lost)
    std::this_thread::sleep_for(std::chrono::milliseconds((peer_lost ? 3000 : 1500) + 20 * std::min(rank, 50)));
  const std::string text = text_of(failure);
  runtime.log.error(text);
  runtime.watchdog->note(0, "its end behind an error");  // what hangs may be where that is written down
  commit_end(runtime, peer_lost, text);
  std::fflush(nullptr);
  if (runtime.ranks.size() > 1) runtime.ranks.abort(kExitFailed);  // others may wait for this rank for ever
  return kExitFailed;
}

int exit_code_of(tasks::Outcome outcome) {
  if (outcome == tasks::Outcome::failed) return kExitFailed;
  return outcome == tasks::Outcome::stopped ? kExitStopped : kExitDone;
}

int run_task(const AppInfo& info, const CommandLine& line, dist::HostCommunicator& ranks,
             const std::function<tasks::Outcome(tasks::Runtime&)>& task) {
  const Log log({.quiet = line.quiet, .root = ranks.is_root(), .rank = ranks.rank(), .ranks = ranks.size()});
  ranks.set_deadline(std::chrono::seconds(line.collective_timeout));  // of its duplicates too
  StopSignal stop;
  stop.install();  // ahead of the backend's threads
  const Compute compute = make_compute(info, line, ranks);
  tasks::Runtime runtime{.ranks = ranks,
                         .stop = stop,
                         .log = log,
                         .backend = compute.backend.get(),
                         .collectives = compute.collectives.get(),
                         .watchdog = make_watchdog(line, log)};
  if (compute.backend && backends::cuda_device_of(*compute.backend).present())
    runtime.free_memory = [] { return static_cast<std::uint64_t>(backends::free_gpu_memory()); };
  log.info(fmt::format("{} {} (git {}), ranks {}{}", info.name, version(), git_revision(), ranks.size(),
                       compute.backend
                           ? fmt::format(", {}, sums: {}", compute.backend->description(), compute.collectives->name())
                           : ""));
  if (const auto faults = faults_asked_for(); !faults.empty())
    log.warn(fmt::format("LSD_FAULT={} is set: this run breaks on purpose", faults));
  try {
    auto worst = static_cast<std::int64_t>(task(runtime));
    runtime.watchdog->rest();
    ranks.all_reduce_max(std::span(&worst, 1));  // also: nobody leaves before the last rank has finished
    return exit_code_of(static_cast<tasks::Outcome>(worst));
  } catch (Error& error) {
    if (error.kind() == ErrorKind::peer && !runtime.heartbeats.empty())
      error.add_context(who_is_missing(runtime.heartbeats, ranks.size(), ranks.rank(), false));
    return fail(std::current_exception(), runtime);
  } catch (...) {
    return fail(std::current_exception(), runtime);
  }
}

// Options, then the questions that need no task; nothing when the task shall run.
std::optional<int> answer_options(const AppInfo& info, const std::vector<std::string>& arguments,
                                  dist::HostCommunicator& ranks, ConfigSchema& schema, CommandLine& line) {
  const std::string help = help_text(info, schema);  // while the values are still the defaults
  std::optional<std::string> answer;
  together(ranks, [&] {
    arm_faults(faults_asked_for(), ranks.rank());
    line = parse_command_line(schema, info.needs_backend, arguments, info.words_key);
    if (line.help) answer = help;
    if (!line.help && line.version) answer = version_text(info);
  });
  together(ranks, [&] { require_same_options(ranks, fmt::format("{}", fmt::join(arguments, "\n"))); });
  if (!answer) together(ranks, [&] { apply_command_line(line, schema, read_on_root(ranks)); });
  if (!answer && line.print_config) answer = schema.text();
  if (answer && ranks.is_root()) print_to(stdout, *answer);
  const bool defaults_only = line.print_config && line.config_files.empty() && line.values.empty();
  if (line.help || line.version || defaults_only) return kExitDone;
  together(ranks, [&] { schema.validate(); });
  return answer ? std::optional(kExitDone) : std::nullopt;
}

}  // namespace

int run_app(const AppInfo& info, int argc, char** argv, ConfigSchema& schema,
            const std::function<tasks::Outcome(tasks::Runtime&)>& task) {
  try {
    std::optional<dist::MpiSession> session;
    if (dist::launched_by_mpi()) session.emplace(argc, argv);
    const auto ranks = session ? dist::make_mpi_communicator() : dist::make_single_communicator();
    const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
    try {
      CommandLine line;
      const auto answered = answer_options(info, arguments, *ranks, schema, line);
      return answered ? *answered : run_task(info, line, *ranks, task);
    } catch (const StartupError& error) {
      if (error.tell_here()) print_to(stderr, fmt::format("{}: {}\n", info.name, error.what()));
      return kExitFailed;
    }
  } catch (const std::exception& error) {
    print_to(stderr, fmt::format("{}: {}\n", info.name, error.what()));
    return kExitFailed;
  }
}

}  // namespace lsd::apps
