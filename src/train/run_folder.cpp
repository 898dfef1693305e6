// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>

#include "lsd/core/atomic_file.h"
#include "training_loop_internal.h"

namespace lsd::train {
namespace {

// What rank 0 met when it opened the folder or asked for space, told to all ranks so that all of them throw or none.
enum class Opening : char { ready = 'r', done = 'd', user_error = 'u', data_error = 'e', other_error = 'o' };

[[noreturn]] void throw_as(Opening opening, const std::string& text) {
  if (opening == Opening::user_error) throw UserError(text);
  if (opening == Opening::data_error) throw DataError(text);
  throw SystemError(text);
}

Opening opening_of(ErrorKind kind) {
  if (kind == ErrorKind::user) return Opening::user_error;
  return kind == ErrorKind::data ? Opening::data_error : Opening::other_error;
}

}  // namespace

RunFolder::RunFolder(const TrainingJob& job)
    : job_(job), checkpoints_(std::filesystem::path(job.run.directory) / "checkpoints") {
  std::string message;
  if (job.world.ranks.is_root()) {
    try {
      dir_ = std::make_unique<RunDir>(job.run.directory, job.program, job.identity.config_text, job.fingerprint,
                                      job.world.ranks.size(), job.world.backend.description());
      const bool done = dir_->state() == RunState::done;
      if (done && !io::has_checkpoint(checkpoints_)) {
        throw DataError(
            fmt::format("{} says that this run is done, but {} holds no checkpoint: restore that folder, or remove the "
                        "run's folder to train again",
                        (dir_->path() / "DONE").string(), checkpoints_.string()));
      }
      message = static_cast<char>(done ? Opening::done : Opening::ready);
      if (!done) {
        attempt_ = io::Attempt::begin(job.run.directory);
        message += std::to_string(attempt_->number());
        writer_.emplace(checkpoints_,
                        io::CheckpointPolicy{.keep_last = static_cast<int>(job.checkpoint.keep_last),
                                             .milestone_steps = job.checkpoint.milestone_steps},
                        attempt_);
      }
    } catch (const Error& error) {
      message = static_cast<char>(opening_of(error.kind())) + std::string(error.what());
    }
  }
  message = job.world.ranks.broadcast_text(message);
  const auto opening = static_cast<Opening>(message.at(0));
  done_ = opening == Opening::done;
  if (!done_ && opening != Opening::ready) throw_as(opening, message.substr(1));
  if (done_) {
    job.log.info("this run is already done: " + job.run.directory);
    return;
  }
  attempt_ = io::Attempt::join(job.run.directory, std::stoll(message.substr(1)));
  if (job.on_folder) job.on_folder(*attempt_);
}

std::optional<io::Checkpoint> RunFolder::latest_checkpoint() const {
  std::vector<std::string> reports;
  auto checkpoint = io::open_latest_checkpoint(checkpoints_, io::OnDamage::fall_back, &reports);
  if (job_.world.ranks.is_root())
    for (const auto& report : reports) job_.log.warn(report);
  return checkpoint;
}

std::optional<io::Checkpoint> RunFolder::checkpoint_before(std::int64_t step) const {
  std::string found;
  if (job_.world.ranks.is_root()) {
    auto steps = io::checkpoint_steps(checkpoints_);
    std::erase_if(steps, [step](std::int64_t other) { return other >= step; });
    for (; found.empty() && !steps.empty(); steps.pop_back()) {
      try {
        io::open_checkpoint(io::checkpoint_path(checkpoints_, steps.back()));
        found = std::to_string(steps.back());
      } catch (const DataError& error) {
        job_.log.warn(error.what());
      }
    }
  }
  found = job_.world.ranks.broadcast_text(found);
  if (found.empty()) return std::nullopt;
  return io::open_checkpoint(io::checkpoint_path(checkpoints_, std::stoll(found)));
}

// As many as stand beside each other before old ones are removed, and no more than this run makes. How many the clock
// asks for nobody knows: `with_timed` supposes enough.
std::int64_t RunFolder::checkpoints_to_come(bool with_timed) const {
  const auto& options = job_.checkpoint;
  const auto steps = io::checkpoint_steps(checkpoints_);
  const auto kept_for_ever = [&](std::int64_t step) {
    return options.milestone_steps > 0 && step % options.milestone_steps == 0;
  };
  const std::int64_t replaceable = std::ssize(steps) - std::count_if(steps.begin(), steps.end(), kept_for_ever);
  const auto beside = options.keep_last + 1 - std::min(replaceable, options.keep_last);
  if (with_timed && options.every_minutes > 0.0) return beside;
  const auto end = job_.run.stop_after > 0 ? std::min(job_.run.stop_after, job_.training.steps) : job_.training.steps;
  const auto left = std::max<std::int64_t>(end - (steps.empty() ? 0 : steps.back()), 0);
  const auto times = [&](std::int64_t every) { return every > 0 ? left / every : 0; };
  return std::min(beside, times(options.every_steps) + times(options.milestone_steps) + 1);
}

void RunFolder::require_disk(double checkpoint_bytes) const {
  std::string failure;
  if (dir_) {
    const auto count = checkpoints_to_come(false), most = checkpoints_to_come(true);
    try {
      require_free_space(
          checkpoints_, static_cast<std::uint64_t>(checkpoint_bytes * static_cast<double>(count)),
          fmt::format("{} checkpoint{} of {} to come (checkpoint.keep_last = {}, and one while it is written)", count,
                      count == 1 ? "" : "s", human_bytes(checkpoint_bytes), job_.checkpoint.keep_last));
      const auto free = static_cast<double>(free_bytes_at(checkpoints_));
      if (free < checkpoint_bytes * static_cast<double>(most))
        job_.log.warn(
            fmt::format("{} has {} free; {} checkpoints of {} may come to stand there, one every {} minutes: if they "
                        "do, this run ends "
                        "with an error then",
                        checkpoints_.string(), human_bytes(free), most, human_bytes(checkpoint_bytes),
                        job_.checkpoint.every_minutes));
    } catch (const Error& error) {
      failure = static_cast<char>(opening_of(error.kind())) + std::string(error.what());
    }
  }
  failure = job_.world.ranks.broadcast_text(failure);
  if (!failure.empty()) throw_as(static_cast<Opening>(failure.front()), failure.substr(1));
}

void RunFolder::start_from(std::int64_t step) {
  if (dir_) {
    attempt_->check_current();
    dir_->clear_state();
    dir_->truncate_metrics_after(step);
  }
  if (step > 0) job_.log.info(fmt::format("going on behind step {}", step));
}

void RunFolder::forget_after(std::int64_t step) {
  if (!dir_) return;
  attempt_->check_current();
  writer_->remove_after(step);
  dir_->truncate_metrics_after(step);
}

void RunFolder::append_metrics(const std::string& line) {
  if (!dir_) return;
  attempt_->check_current();
  dir_->append_metrics(line);
}

void RunFolder::commit(RunState state, const std::string& reason) {
  if (!dir_) return;
  attempt_->check_current();
  dir_->commit_state(state, reason);
}

bool RunFolder::finish(const std::function<bool()>& body) {
  const bool done = body();
  job_.world.ranks.barrier();
  commit(done ? RunState::done : RunState::stopped,
         done ? "all steps are done" : "stopped at a checkpoint; the same command goes on from there");
  return done;
}

}  // namespace lsd::train
