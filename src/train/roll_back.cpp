// SPDX-License-Identifier: Apache-2.0
// How a run goes back to a checkpoint after repeated spikes: the same data with the same draws would spike again, so
// the sequences of the skipped steps are left out from then on.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "training_loop_internal.h"

namespace lsd::train {
namespace {

// Skipped steps count as repeated when `rollback_after` of them stand among this many times as many steps.
constexpr std::int64_t kSpan = 4;
// A spike of the loss is mostly the work of the updates before it, so the data of so many steps are left out as well;
// twice as many each further time.
std::int64_t lead_of(const TrainerState& state) {
  return std::int64_t{8} << std::min<std::int64_t>(state.rollbacks, 3);
}

void add_visits(std::vector<std::int64_t>& visits, std::int64_t begin, std::int64_t end) {
  const auto at = static_cast<std::ptrdiff_t>(visits.size());
  visits.resize(visits.size() + static_cast<std::size_t>(std::max<std::int64_t>(end - begin, 0)));
  std::iota(visits.begin() + at, visits.end(), begin);
}

// Visits of the steps skipped since `first_skip`, and of the steps in front of it.
std::vector<std::int64_t> offending_visits(const TrainerState& state, std::int64_t first_skip) {
  std::vector<std::int64_t> visits;
  for (const auto& skip : state.skipped) {
    if (skip.step < first_skip) continue;
    if (visits.empty()) {
      const auto& recent = state.recent_first_visits;
      const auto index = std::ssize(recent) - 1 - (state.step - first_skip) - lead_of(state);
      const auto begin = recent[static_cast<std::size_t>(std::clamp<std::int64_t>(index, 0, std::ssize(recent) - 1))];
      add_visits(visits, std::min(begin, skip.first_visit), skip.first_visit);
    }
    add_visits(visits, skip.first_visit, skip.end_visit);
  }
  return visits;
}

}  // namespace

std::optional<std::int64_t> TrainingLoop::first_recent_skip() const {
  const auto& state = trainer_.state();
  const auto after = state.step - kSpan * job_.guard.rollback_after;
  const auto recent = [after](const SkippedStep& skip) { return skip.step > after; };
  const auto found = std::find_if(state.skipped.begin(), state.skipped.end(), recent);
  if (found == state.skipped.end()) return std::nullopt;
  return found->step;
}

bool TrainingLoop::roll_back_if_needed() {
  const auto& state = trainer_.state();
  const auto first = first_recent_skip();
  if (job_.guard.rollback_after == 0 || !first || state.rollbacks >= job_.guard.max_rollbacks) return false;
  const auto recent = std::count_if(state.skipped.begin(), state.skipped.end(),
                                    [&](const SkippedStep& skip) { return skip.step >= *first; });
  if (recent < job_.guard.rollback_after) return false;
  roll_back(*first);
  return true;
}

// Leaves a checkpoint that holds the list of skipped visits as the one in force, so that a run killed afterwards goes
// on without them too.
void TrainingLoop::roll_back(std::int64_t before_step) {
  finish_checkpoints();
  at(trainer_.state().step, "roll-back");
  loader_.reset();
  auto& state = trainer_.state();
  const auto from = state.step, rollbacks = state.rollbacks + 1;
  auto visits = offending_visits(state, before_step);
  const auto earlier = state.skipped_visits;

  // The second time, the checkpoint itself may already have been harmed.
  std::optional<io::Checkpoint> checkpoint;
  if (rollbacks > 1) checkpoint = folder_.checkpoint_before(before_step - lead_of(state));
  if (!checkpoint) checkpoint = folder_.checkpoint_before(before_step);
  if (checkpoint)
    restore_checkpoint(*checkpoint, trainer_, job_.identity);
  else
    begin_anew_();
  std::erase_if(visits, [&](std::int64_t visit) { return visit < state.end_visit; });  // learnt from in the checkpoint
  const auto left_out = visits.size();
  visits.insert(visits.end(), earlier.begin(), earlier.end());
  std::sort(visits.begin(), visits.end());
  visits.erase(std::unique(visits.begin(), visits.end()), visits.end());
  state.skipped_visits = std::move(visits);
  state.rollbacks = rollbacks;
  job_.log.info(
      fmt::format("repeated spikes since step {}: back from step {} to {} (time {} of {}), leaving out {} visits",
                  before_step, from, state.step, rollbacks, job_.guard.max_rollbacks, left_out));
  saver_.save(trainer_, job_.identity, std::nullopt);
  finish_checkpoints();
  folder_.forget_after(state.step);
  step_at_last_checkpoint_ = state.step;
  tokens_at_last_log_ = state.tokens_seen;
  last_checkpoint_ = last_log_ = Clock::now();
  start_loader();
}

}  // namespace lsd::train
