// SPDX-License-Identifier: Apache-2.0
// How a step is judged, alike on all ranks, and what is noted of it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "lsd/core/error.h"
#include "lsd/train/trainer.h"

namespace lsd::train {

models::MetricCounts Trainer::counts_of(const data::StepBatches& batches) const {
  models::MetricCounts counts;
  for (std::size_t index = 0; index < batches.micro_batches.size(); ++index) {
    const auto& batch = batches.micro_batches[index];
    counts.shares += static_cast<double>(shares_[index]);
    counts.residues += static_cast<double>(batch.num_residues);
    counts.targets += static_cast<double>(batch.num_targets);
  }
  return counts;
}

void Trainer::reduce_and_judge(const models::MetricCounts& counts, double squared_norm, double scale,
                               StepReport& report, const std::function<Votes()>& ask) {
  const auto slots = host_slots_.size() - 1;
  const Votes mine = ask ? ask() : Votes{};
  std::vector<double> sums(host_slots_.begin(), host_slots_.end() - 1);
  sums.insert(sums.end(), {counts.shares, counts.residues, counts.targets});
  sums.insert(sums.end(), {mine.stop, mine.checkpoint, mine.failed});
  world_.ranks.all_reduce_sum(std::span<double>(sums));
  const models::MetricCounts total{sums[slots], sums[slots + 1], sums[slots + 2]};
  report.votes = {sums[slots + 3], sums[slots + 4], sums[slots + 5]};
  const auto values = models::metric_values(specs_, std::span<const double>(sums).first(slots), total);
  for (std::size_t i = 0; i < specs_.size(); ++i)
    if (specs_[i].name == "loss") report.loss = values[i];
  report.gradient_norm = scale * std::sqrt(squared_norm);
  report.judgement = guard_.judge(report.loss, report.gradient_norm);
  report.skipped = report.judgement.verdict != Verdict::good;
}

void Trainer::note_outcome(const data::StepBatches& batches, const models::MetricCounts& counts, StepReport& report) {
  state_.step += 1;
  state_.tokens_seen += batches.num_tokens;
  state_.end_visit = batches.end_visit;
  auto& recent = state_.recent_first_visits;
  recent.push_back(batches.first_visit);
  if (std::ssize(recent) > kStepsRemembered) recent.erase(recent.begin());
  if (report.skipped) return note_skip(batches, report);
  state_.optimizer_steps += 1;
  state_.skips_in_a_row = 0;
  metrics_.add(std::span<const float>(host_slots_).first(host_slots_.size() - 1), counts);
}

void Trainer::note_skip(const data::StepBatches& batches, StepReport& report) {
  state_.skips_in_a_row += 1;
  state_.skipped.push_back({state_.step, batches.first_visit, batches.end_visit, report.judgement.verdict});
  if (state_.skips_in_a_row < kMaxSkipsInARow) return;
  if (report.judgement.verdict != Verdict::not_finite) {
    guard_.forget();
    state_.skips_in_a_row = 0;
    report.new_course = true;
    return;
  }
  std::string steps;
  const auto named = std::min<std::ptrdiff_t>(kMaxSkipsInARow, std::ssize(state_.skipped));
  for (auto skip = state_.skipped.end() - named; skip != state_.skipped.end(); ++skip)
    steps += fmt::format("{}step {} (visits {} to {}: {})", steps.empty() ? "" : ", ", skip->step, skip->first_visit,
                         skip->end_visit - 1, text_of(skip->verdict));
  std::string records;
  for (const auto& batch : batches.micro_batches)
    for (std::size_t slot = 0; slot < std::min<std::size_t>(batch.sequences.size(), 8); ++slot)
      records += fmt::format("{}{}", records.empty() ? "" : ", ", batch.sequences[slot].record);
  throw DataError(fmt::format(
      "{} steps in a row could not be learnt from: {}; records of this rank in the last one begin with {}. Lower "
      "optimizer.learning_rate or look at these samples; the last good checkpoint is from before these steps",
      kMaxSkipsInARow, steps, records));
}

}  // namespace lsd::train
