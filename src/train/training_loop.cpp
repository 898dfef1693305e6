// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "lsd/core/error.h"
#include "lsd/core/fault_point.h"
#include "lsd/core/json_text.h"
#include "training_loop_internal.h"

namespace lsd::train {
namespace {

using Json = nlohmann::ordered_json;

data::BatchLoaderOptions loader_options(const TrainingJob& job, const TrainerState& state) {
  data::BatchLoaderOptions options;
  options.order = job.order;
  options.packing = job.packing;
  options.packing.skipped_visits = state.skipped_visits;
  options.content = job.content;
  options.micro_batches = job.training.micro_batches;
  options.rank = job.world.ranks.rank();
  options.ranks = job.world.ranks.size();
  options.first_visit = state.end_visit;
  return options;
}

std::string note_of(const NamedValues& values, std::size_t most) {
  std::string note;
  for (std::size_t i = 0; i < std::min(values.size(), most); ++i)
    note += fmt::format("{}{} {:.4f}", i ? ", " : "", values[i].first, values[i].second);
  return note;
}

// What people read of a validation: the values at the loss's own noise, and one value per fixed time.
NamedValues summary_of(const NamedValues& values) {
  const auto has = [](std::string_view name, std::string_view part) {
    return name.find(part) != std::string_view::npos;
  };
  const bool accuracies =
      std::any_of(values.begin(), values.end(), [&](const auto& v) { return has(v.first, "accuracy"); });
  NamedValues out;
  for (const auto& value : values)
    if (!has(value.first, "@") || value.first.starts_with(accuracies ? "accuracy@" : "loss@")) out.push_back(value);
  return out;
}

double seconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

TrainingLoop::TrainingLoop(const TrainingJob& job, Trainer& trainer, RunFolder& folder,
                           std::function<void()> begin_anew)
    : job_(job),
      trainer_(trainer),
      folder_(folder),
      begin_anew_(std::move(begin_anew)),
      saver_(folder.writer(), job.checkpoint.in_background, [watchdog = job.watchdog] { watchdog->progress(); }),
      last_log_(Clock::now()),
      last_checkpoint_(Clock::now()),
      tokens_at_last_log_(trainer.state().tokens_seen),
      step_at_last_checkpoint_(trainer.state().step) {
  // It lives as long as the watchdog: behind an error, its end could wait for a file system that hangs.
  const auto& ranks = job.world.ranks;
  job.watchdog->tell_others(
      std::make_shared<Heartbeat>(folder.attempt_folder(), ranks.rank(), Heartbeat::pace_of(ranks.size())));
  validation_ = {.source = job.valid,
                 .loader = loader_options(job, trainer.state()),
                 .micro_batches = job.validation.micro_batches,
                 .fixed_times = job.validation.times,
                 .run_seed = static_cast<std::uint32_t>(job.run.seed)};
}

void TrainingLoop::at(std::int64_t step, const char* phase) {
  job_.watchdog->note(step, phase);
}

// A signal may reach one rank alone, clocks differ, and rank 0 alone writes.
Votes TrainingLoop::vote() {
  const double minutes = seconds(Clock::now() - last_checkpoint_) / 60.0;
  const bool time_is_up = job_.checkpoint.every_minutes > 0.0 && minutes >= job_.checkpoint.every_minutes;
  return {.stop = job_.stop.requested() ? 1.0 : 0.0,
          .checkpoint = time_is_up ? 1.0 : 0.0,
          .failed = saver_.failed() ? 1.0 : 0.0};
}

// What all ranks do behind this step.
TrainingLoop::Next TrainingLoop::decide(const Votes& votes) const {
  const auto step = trainer_.state().step;
  if (votes.stop > 0.0 || (job_.run.stop_after > 0 && step >= job_.run.stop_after)) return Next::stop;
  const bool due_now = due(job_.checkpoint.every_steps) || due(job_.checkpoint.milestone_steps);
  return votes.checkpoint > 0.0 || due_now ? Next::checkpoint : Next::go_on;
}

void TrainingLoop::start_loader() {
  loader_ = std::make_unique<data::BatchLoader>(job_.train, loader_options(job_, trainer_.state()));
}

// A rank that waited in vain says how far all ranks had come, which it knows by itself, and whom it waited for.
bool TrainingLoop::run() {
  try {
    return run_steps();
  } catch (Error& error) {
    const auto& ranks = job_.world.ranks;
    const auto step = trainer_.state().step;
    if (error.kind() == ErrorKind::peer)
      error.add_context((step > 0 ? fmt::format("all ranks took part in step {}; ", step) : "") +
                        who_is_missing(folder_.attempt_folder(), ranks.size(), ranks.rank(), true));
    // What unwinds next waits for it, perhaps for a file system that hangs.
    if (saver_.is_writing())
      job_.log.warn(fmt::format("a checkpoint is still being written, this error comes behind it: {}", error.what()));
    throw;
  }
}

bool TrainingLoop::run_steps() {
  start_loader();
  Progress progress(job_.log, "training", job_.training.steps, "step", trainer_.state().step);
  const auto& state = trainer_.state();
  while (state.step < job_.training.steps) {
    at(state.step + 1, "step");
    auto batches = loader_->next();
    check(batches.has_value(), "the data never end");
    const auto report = with_context(fmt::format("in training step {}", state.step + 1),
                                     [&] { return trainer_.step(*batches, [this] { return vote(); }); });
    loader_->recycle(std::move(*batches));
    if (report.votes.failed > 0.0) finish_checkpoints();
    if (report.skipped && roll_back_if_needed()) continue;
    const bool last = state.step == job_.training.steps;
    const auto next = after_step(report, last);
    progress.update(state.step, last_note_);
    if (next == Next::stop && !last) {
      finish_checkpoints();
      job_.log.info(fmt::format("stopped behind step {}; the same command goes on from there", state.step));
      return false;
    }
  }
  finish_checkpoints();
  progress.finish();
  return true;
}

TrainingLoop::Next TrainingLoop::after_step(const StepReport& report, bool last) {
  if (report.skipped) {
    const auto& skip = trainer_.state().skipped.back();
    if (job_.world.ranks.is_root())
      job_.log.warn(
          fmt::format("step {}: {} (loss {:.4g}, z {:.1f}; gradient norm {:.4g}, z {:.1f}); skipped visits {} "
                      "to {}",
                      skip.step, text_of(skip.verdict), report.loss, report.judgement.loss_z, report.gradient_norm,
                      report.judgement.gradient_z, skip.first_visit, skip.end_visit - 1));
    if (report.new_course && job_.world.ranks.is_root())
      job_.log.warn(
          fmt::format("step {}: {} skipped steps in a row: the loss has settled elsewhere, and training goes on "
                      "from there. Watch the loss; a lower optimizer.learning_rate avoids such jumps",
                      skip.step, Trainer::kMaxSkipsInARow));
  }
  if (due(job_.training.log_every) || last) log_step(report);
  if (due(job_.validation.every_steps) || last) log_validation();
  at(trainer_.state().step, "end of the step");
  fault_point("train.step_done");
  const auto next = decide(report.votes);
  if (next != Next::go_on || last) checkpoint();
  return next;
}

// Which rank computes slowest since the last line, next to the median: the others wait for it in every step.
void TrainingLoop::note_ranks(Json& line) {
  auto& ranks = job_.world.ranks;
  const double mine = trainer_.take_busy_seconds();
  if (ranks.size() == 1) return;
  std::vector<std::pair<double, int>> busy;
  for (const auto& bytes : ranks.all_gather(std::as_bytes(std::span(&mine, 1)))) {
    double value = 0.0;
    std::memcpy(&value, bytes.data(), sizeof(value));
    busy.emplace_back(value, static_cast<int>(busy.size()));
  }
  std::sort(busy.begin(), busy.end());
  line["busy_seconds_median"] = busy[(busy.size() - 1) / 2].first;
  line["busy_seconds_slowest"] = busy.back().first;
  line["slowest_rank_by_busy_seconds"] = busy.back().second;
}

void TrainingLoop::log_step(const StepReport& report) {
  const auto values = trainer_.metrics().reduced(job_.world.ranks);
  const auto& state = trainer_.state();
  const double elapsed = seconds(Clock::now() - last_log_);
  Json line = {{"kind", "train"}, {"step", state.step}};
  for (const auto& [name, value] : values) line[name] = value;
  line["gradient_norm"] = report.gradient_norm;
  line["learning_rate"] = report.learning_rate;
  line["skipped_steps"] = state.skipped.size();
  line["skipped_visits"] = state.skipped_visits.size();
  line["rollbacks"] = state.rollbacks;
  line["tokens"] = state.tokens_seen;
  line["tokens_per_second"] = static_cast<double>(state.tokens_seen - tokens_at_last_log_) / std::max(elapsed, 1e-9);
  note_ranks(line);
  folder_.append_metrics(json_text(line));
  fault_point("train.metrics_written");
  last_note_ = note_of(values, 3);
  trainer_.metrics().clear();
  tokens_at_last_log_ = state.tokens_seen;
  last_log_ = Clock::now();
}

void TrainingLoop::log_validation() {
  if (job_.validation.every_steps == 0 || !job_.valid || job_.valid->size() == 0) return;
  const auto begin = Clock::now();
  at(trainer_.state().step, "validation");
  const auto values = validate(trainer_, validation_);
  Json line = {{"kind", "validation"}, {"step", trainer_.state().step}};
  for (const auto& [name, value] : values) line[name] = value;
  folder_.append_metrics(json_text(line));
  fault_point("train.validated");
  job_.log.info(fmt::format("step {}, validation: {}", trainer_.state().step, note_of(summary_of(values), 16)));
  last_log_ += Clock::now() - begin;  // tokens per second count training alone
}

void TrainingLoop::checkpoint() {
  if (step_at_last_checkpoint_ == trainer_.state().step) return;
  const auto begin = Clock::now();
  at(trainer_.state().step, "checkpoint");
  saver_.save(trainer_, job_.identity, first_recent_skip());
  step_at_last_checkpoint_ = trainer_.state().step;
  last_checkpoint_ = Clock::now();
  last_log_ += last_checkpoint_ - begin;
}

// Until the last checkpoint is in place. When that went wrong, every rank throws.
void TrainingLoop::finish_checkpoints() {
  at(trainer_.state().step, "checkpoint");
  std::exception_ptr failure;
  try {
    saver_.wait();
  } catch (...) {
    failure = std::current_exception();
  }
  std::int64_t failed = failure ? 1 : 0;
  job_.world.ranks.all_reduce_max(std::span(&failed, 1));
  if (failure) std::rethrow_exception(failure);
  if (failed > 0) throw SystemError("rank 0 could not write the last checkpoint; its error says why");
}

}  // namespace lsd::train
