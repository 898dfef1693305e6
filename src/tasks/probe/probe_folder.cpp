// SPDX-License-Identifier: Apache-2.0
#include "probe_folder_internal.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "../shard/together_internal.h"
#include "lsd/core/error.h"
#include "lsd/core/fault_point.h"
#include "lsd/core/json_text.h"

namespace lsd::tasks {
namespace {

constexpr std::string_view kProgram = "lsd_probe";

}  // namespace

void ProbeFolder::open(const std::string& config_text, const std::string& fingerprint) {
  auto& ranks = runtime_.ranks;
  sharding::together(ranks, [&] {
    if (!ranks.is_root()) return;
    run_dir_.emplace(folder_, kProgram, config_text, fingerprint, ranks.size(), runtime_.backend->description());
    attempt_ = io::Attempt::begin(folder_);
    run_dir_->clear_state();
    run_dir_->mend_metrics();
  });
  const auto number = ranks.broadcast_text(attempt_ ? std::to_string(attempt_->number()) : "");
  attempt_ = io::Attempt::join(folder_, std::stoll(number));
  runtime_.begin_heartbeat(attempt_->folder());
  take_state();
  runtime_.owns_run_folder = [attempt = *attempt_] { return attempt.is_current(); };
}

bool ProbeFolder::holds(const ProbeResult& result) {
  const auto file = folder_ / result.file_name();
  if (!std::filesystem::exists(file)) return false;
  const auto found = read_result(file);
  if (!found || found->fingerprint != result.fingerprint) {
    throw UserError(
        fmt::format("{} holds the result of another model, task file or head: give --run.model another name or "
                    "--run.directory another folder",
                    file.string()));
  }
  ++found_;
  return true;
}

// A newer attempt may begin behind the question: it then finds this result, which is its own, bit for bit.
void ProbeFolder::write(const ProbeResult& result, double seconds) {
  attempt_->check_current();
  write_result(folder_, result);
  fault_point("probe.result_written");
  ++written_;
  metrics_ += json_text(nlohmann::ordered_json{{"kind", "head"},
                                               {"result", result.file_name()},
                                               {"epochs", result.epochs},
                                               {"best_epoch", result.best_epoch},
                                               {"valid", result.valid_score},
                                               {"test", result.test_score},
                                               {"seconds", seconds},
                                               {"rank", runtime_.ranks.rank()},
                                               {"attempt", attempt_->number()}}) +
              "\n";
}

// Collective. Rank 0 alone writes to the file.
void ProbeFolder::gather_metrics() {
  const auto of_ranks = runtime_.ranks.all_gather(std::as_bytes(std::span(metrics_)));
  metrics_.clear();
  sharding::together(runtime_.ranks, [&] {
    if (!run_dir_) return;
    attempt_->check_current();
    try {
      for (const auto& bytes : of_ranks) {
        const std::string_view lines(reinterpret_cast<const char*>(bytes.data()), bytes.size());
        if (!lines.empty()) run_dir_->append_metrics(lines.substr(0, lines.size() - 1));  // which ends with one itself
      }
    } catch (const SystemError& error) {
      runtime_.log.warn(fmt::format("all results are there, but {}", error.what()));
    }
  });
}

Outcome ProbeFolder::end(RunState state, std::string_view reason) {
  std::int64_t stopped = state == RunState::stopped ? 1 : 0;
  runtime_.ranks.all_reduce_max(std::span(&stopped, 1));
  std::array<std::int64_t, 2> counts = {written_, found_};
  runtime_.ranks.all_reduce_sum(std::span<std::int64_t>(counts));
  gather_metrics();
  if (runtime_.ranks.is_root()) {
    attempt_->check_current();
    run_dir_->commit_state(stopped != 0 ? RunState::stopped : state, reason);
    runtime_.log.info(fmt::format("{} results written, {} were there; in {}", counts[0], counts[1], folder_.string()));
  }
  runtime_.ranks.barrier();
  return stopped != 0 ? Outcome::stopped : Outcome::done;
}

}  // namespace lsd::tasks
