// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/step_guard.h"

#include <algorithm>
#include <cmath>

#include "lsd/core/error.h"

namespace lsd::train {
namespace {

constexpr double kLeastLossSpread = 0.02;  // of the mean
constexpr double kLeastLogNormSpread = 0.1;
constexpr double kLeastNorm = 1e-30;  // whose logarithm stands for a norm of 0

struct Spread {
  double mean = 0.0, deviation = 0.0;
};

Spread spread_of(const std::deque<double>& values) {
  const auto n = static_cast<double>(values.size());
  Spread spread;
  for (const double value : values) spread.mean += value / n;
  double squares = 0.0;
  for (const double value : values) squares += (value - spread.mean) * (value - spread.mean);
  spread.deviation = std::sqrt(squares / n);
  return spread;
}

double z_score(double value, const Spread& spread, double least) {
  const double deviation = std::max(spread.deviation, least);
  return deviation > 0.0 ? (value - spread.mean) / deviation : 0.0;
}

}  // namespace

std::string_view text_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::good:
      return "good";
    case Verdict::not_finite:
      return "the loss or gradient was not finite";
    case Verdict::loss_spike:
      return "the loss spiked";
    case Verdict::gradient_spike:
      return "the gradient norm spiked";
  }
  return "";
}

StepGuard::Judgement StepGuard::judge(double loss, double gradient_norm) {
  Judgement judgement;
  if (!std::isfinite(loss) || !std::isfinite(gradient_norm)) return {.verdict = Verdict::not_finite};
  const double log_norm = std::log(std::max(gradient_norm, kLeastNorm));
  if (static_cast<std::int64_t>(losses_.size()) >= options_.window) {
    const auto losses = spread_of(losses_);
    judgement.loss_z = z_score(loss, losses, kLeastLossSpread * std::abs(losses.mean));
    judgement.gradient_z = z_score(log_norm, spread_of(log_norms_), kLeastLogNormSpread);
    if (options_.loss_z > 0.0 && judgement.loss_z > options_.loss_z)
      judgement.verdict = Verdict::loss_spike;
    else if (options_.gradient_z > 0.0 && judgement.gradient_z > options_.gradient_z)
      judgement.verdict = Verdict::gradient_spike;
    if (judgement.verdict != Verdict::good) return judgement;
    losses_.pop_front();
    log_norms_.pop_front();
  }
  losses_.push_back(loss);
  log_norms_.push_back(log_norm);
  return judgement;
}

void StepGuard::forget() {
  losses_.clear();
  log_norms_.clear();
}

std::vector<double> StepGuard::state() const {
  std::vector<double> state(losses_.begin(), losses_.end());
  state.insert(state.end(), log_norms_.begin(), log_norms_.end());
  return state;
}

void StepGuard::set_state(std::span<const double> state) {
  if (state.size() % 2 != 0) throw DataError("the guard's window holds as many losses as gradient norms");
  const auto half = state.size() / 2;
  const auto kept = std::min(half, static_cast<std::size_t>(options_.window));
  const auto losses = state.subspan(half - kept, kept), norms = state.last(kept);
  losses_.assign(losses.begin(), losses.end());
  log_norms_.assign(norms.begin(), norms.end());
}

}  // namespace lsd::train
