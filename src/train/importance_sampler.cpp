// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/importance_sampler.h"

#include <algorithm>
#include <cmath>

#include "lsd/core/error.h"
#include "lsd/core/philox.h"

namespace lsd::train {
namespace {

// Two words of one counter: which bin, and where in it.
struct Uniforms {
  float bin, within;
};

Uniforms uniforms(std::uint32_t seed, std::uint64_t visit) {
  const auto words = random_words(random_key(seed, RandomStream::diffusion_time), 0, visit);
  return {uniform_from_word(words.word[0]), uniform_from_word(words.word[1])};
}

}  // namespace

ImportanceSampler::Draw ImportanceSampler::draw(std::uint32_t seed, std::uint64_t visit) const {
  if (kind_ == Kind::none) return draw_uniform(seed, visit);
  const auto u = uniforms(seed, visit);
  const auto found = std::upper_bound(cumulative_.begin(), cumulative_.end() - 1, static_cast<double>(u.bin));
  const auto bin = static_cast<std::size_t>(found - cumulative_.begin());
  const auto time = (static_cast<float>(bin) + u.within) / static_cast<float>(kBins);
  return {time, static_cast<float>(1.0 / (kBins * probability_[bin]))};
}

ImportanceSampler::Draw ImportanceSampler::draw_uniform(std::uint32_t seed, std::uint64_t visit) {
  return {uniforms(seed, visit).bin, 1.0F};
}

int ImportanceSampler::bin_of(float time) {
  return std::clamp(static_cast<int>(time * static_cast<float>(kBins)), 0, kBins - 1);
}

void ImportanceSampler::observe(float time, float loss) {
  const auto bin = static_cast<std::size_t>(bin_of(time));
  current_.squares[bin] += static_cast<double>(loss) * loss;
  current_.counts[bin] += 1.0;
}

void ImportanceSampler::finish_step(dist::HostCommunicator& ranks, bool discard) {
  if (kind_ == Kind::none) return;
  if (discard) current_ = {};
  std::array<double, 2 * kBins> both;
  std::copy(current_.squares.begin(), current_.squares.end(), both.begin());
  std::copy(current_.counts.begin(), current_.counts.end(), both.begin() + kBins);
  ranks.all_reduce_sum(std::span<double>(both));
  take_in(pending_);
  std::copy_n(both.begin(), kBins, pending_.squares.begin());
  std::copy_n(both.begin() + kBins, kBins, pending_.counts.begin());
  current_ = {};
}

// A bin that met c losses in the step forgets as c single losses would: mean square <- decay^c old + (1 - decay^c) new.
void ImportanceSampler::take_in(const Sums& sums) {
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    if (sums.counts[bin] == 0.0) continue;
    const double step_mean = sums.squares[bin] / sums.counts[bin];
    const double keep = seen_[bin] == 0.0 ? 0.0 : std::pow(options_.decay, sums.counts[bin]);
    mean_square_[bin] = keep * mean_square_[bin] + (1.0 - keep) * step_mean;
    seen_[bin] += sums.counts[bin];
  }
  update_probabilities();
}

bool ImportanceSampler::warmed_up() const {
  return std::all_of(seen_.begin(), seen_.end(),
                     [this](double count) { return count >= static_cast<double>(options_.warmup_losses); });
}

void ImportanceSampler::update_probabilities() {
  double total = 0.0;
  if (kind_ == Kind::loss_rms && warmed_up())
    for (const double square : mean_square_) total += std::sqrt(square);
  double running = 0.0;
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    const double share = total > 0.0 ? std::sqrt(mean_square_[bin]) / total : 1.0 / kBins;
    probability_[bin] = (1.0 - options_.uniform_share) * share + options_.uniform_share / kBins;
    running += probability_[bin];
    cumulative_[bin] = running;
  }
}

std::vector<double> ImportanceSampler::state() const {
  std::vector<double> out;
  for (const auto* part : {&mean_square_, &seen_, &pending_.squares, &pending_.counts})
    out.insert(out.end(), part->begin(), part->end());
  return out;
}

void ImportanceSampler::set_state(std::span<const double> state) {
  if (state.size() != 4 * kBins)
    throw DataError("the sampler state holds " + std::to_string(state.size()) + " numbers, " +
                    std::to_string(4 * kBins) + " are expected: the checkpoint is of another version");
  std::size_t at = 0;
  for (auto* part : {&mean_square_, &seen_, &pending_.squares, &pending_.counts}) {
    std::copy_n(state.begin() + static_cast<std::ptrdiff_t>(at), kBins, part->begin());
    at += kBins;
  }
  current_ = {};
  update_probabilities();
}

}  // namespace lsd::train
