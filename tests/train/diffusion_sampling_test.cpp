// SPDX-License-Identifier: Apache-2.0
// What the trainer makes of the times of a diffusion model: importance weights, what the sampler hears, and the map of
// the noise schedule. The denoiser predicts 0, so that every loss is the mean square of a target known by hand.

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "lsd/models/noise_schedule.h"
#include "train/small_trainer.h"

namespace lsd::train {
namespace {

using testing::cosine_mix;
using testing::DrawnSequence;
using testing::kKnownWidth;
using testing::known_latent;
using testing::kTinySeed;
using testing::linear_beta_mix;
using testing::Mix;
using testing::SmallTrainer;

// Losses of 1 in the lower half of t and of 3 in its upper half: the root mean squares add up to 200, so that with 1 %
// uniform a lower bin has the probability 0.99 x 1 / 200 + 0.0001 and an upper one 0.99 x 3 / 200 + 0.0001.
constexpr double kLower = 0.00505, kUpper = 0.01495;

ImportanceSampler sampler_of_two_halves() {
  std::vector<double> state(400, 0.0);
  for (std::size_t bin = 0; bin < 100; ++bin) {
    state[bin] = bin < 50 ? 1.0 : 9.0;
    state[100 + bin] = 10.0;
  }
  ImportanceSampler sampler(ImportanceSampler::Kind::loss_rms);
  sampler.set_state(state);
  return sampler;
}

struct HandDraw {
  std::size_t bin = 0;
  double time = 0.0, weight = 1.0;
};

HandDraw draw_of_two_halves(const DrawnSequence& sequence) {
  const double u = sequence.uniform(0);
  const bool lower = u < 50 * kLower;
  const auto bin = static_cast<std::size_t>(lower ? u / kLower : 50 + (u - 50 * kLower) / kUpper);
  return {bin, (static_cast<double>(bin) + sequence.uniform(1)) / 100.0, 0.01 / (lower ? kLower : kUpper)};
}

DrawnSequence drawn(const data::PlacedSequence& sequence, std::uint32_t seed = kTinySeed) {
  return {seed, sequence.visit, sequence.residues};
}

std::vector<DrawnSequence> sequences_of(const data::StepBatches& step) {
  std::vector<DrawnSequence> all;
  for (const auto& batch : step.micro_batches)
    for (const auto& sequence : batch.sequences) all.push_back(drawn(sequence));
  return all;
}

double loss_of(const DrawnSequence& sequence, Mix mix) {  // summed over its residues
  return testing::squared_target(sequence, kKnownWidth, mix, known_latent);
}

double linear_beta_time(double t) {
  return models::effective_time(models::NoiseSchedule::linear_beta, t);
}

class DiffusionSampling : public ::testing::Test {
 protected:
  // One step in two micro-batches. X is a residue: it stands in every sum and count here.
  data::StepBatches next_step() {
    data::BatchLoader loader(testing::source_with_unknowns(), testing::tiny_loader({.micro_batches = 2}, 0, 1));
    return std::move(*loader.next());
  }
  static TrainerOptions options() {
    TrainerOptions options;
    options.learning_rate = {.peak = 0.0};
    options.seed = kTinySeed;
    return options;
  }
};

TEST_F(DiffusionSampling, LossAndGradientHoldTheImportanceWeights) {
  auto sampler = sampler_of_two_halves();
  SmallTrainer small({.build = testing::build_known_denoiser, .options = options(), .sampler = &sampler});
  auto step = next_step();
  double weighted = 0.0, unweighted = 0.0, residues = 0.0;
  std::vector<double> bias(kKnownWidth, 0.0);  // the gradient of the output map's bias: 2 / d w (0 - v), summed
  for (const auto& sequence : sequences_of(step)) {
    const auto draw = draw_of_two_halves(sequence);
    const auto mix = cosine_mix(draw.time);
    weighted += draw.weight * loss_of(sequence, mix);
    unweighted += loss_of(sequence, mix);
    residues += static_cast<double>(sequence.residues);
    testing::for_each_target(sequence, kKnownWidth, mix, known_latent, [&](std::int64_t column, double v) {
      bias[static_cast<std::size_t>(column)] -= 2.0 / kKnownWidth * draw.weight * v;
    });
  }
  const auto report = small.trainer.step(step);
  EXPECT_NEAR(report.loss, weighted / residues, 1e-5 * weighted / residues);
  EXPECT_NEAR(small.metric("loss"), weighted / residues, 1e-5 * weighted / residues);
  EXPECT_NEAR(small.metric("loss_unweighted"), unweighted / residues, 1e-5 * unweighted / residues);
  const auto gradient = small.gradient("denoiser.output.bias");
  for (std::size_t column = 0; column < bias.size(); ++column)
    EXPECT_NEAR(gradient[column], bias[column] / residues, 1e-5) << column;
}

// The bin is that of the schedule's t, which was drawn, and not of the effective time that the model reads; the loss is
// that of the sequence without its weight.
TEST_F(DiffusionSampling, TheSamplerHearsTheLossOfTheBinThatWasDrawn) {
  auto sampler = sampler_of_two_halves();
  auto changed = options();
  changed.effective_time = linear_beta_time;
  SmallTrainer small({.build = testing::build_known_denoiser, .options = changed, .sampler = &sampler});
  auto step = next_step();
  std::vector<double> squares(100, 0.0), counts(100, 0.0);
  for (const auto& sequence : sequences_of(step)) {
    const auto draw = draw_of_two_halves(sequence);
    const double loss = loss_of(sequence, linear_beta_mix(draw.time)) / static_cast<double>(sequence.residues);
    squares[draw.bin] += loss * loss;
    counts[draw.bin] += 1.0;
  }
  small.trainer.step(step);
  const auto state = sampler.state();  // mean squares, losses seen, then squares and counts of the last step
  for (std::size_t bin = 0; bin < 100; ++bin) {
    EXPECT_NEAR(state[200 + bin], squares[bin], 1e-5 * squares[bin]) << bin;
    EXPECT_EQ(state[300 + bin], counts[bin]) << bin;
  }
}

TEST_F(DiffusionSampling, TimesOfTrainingPassThroughTheSchedule) {
  for (const bool linear_beta : {false, true}) {
    SCOPED_TRACE(linear_beta ? "linear_beta" : "cosine");
    ImportanceSampler sampler(ImportanceSampler::Kind::none);
    auto changed = options();
    if (linear_beta) changed.effective_time = linear_beta_time;
    SmallTrainer small({.build = testing::build_known_denoiser, .options = changed, .sampler = &sampler});
    auto step = next_step();
    double loss = 0.0, residues = 0.0;
    for (const auto& sequence : sequences_of(step)) {
      const double t = sequence.uniform(0);
      loss += loss_of(sequence, linear_beta ? linear_beta_mix(t) : cosine_mix(t));
      residues += static_cast<double>(sequence.residues);
    }
    EXPECT_NEAR(small.trainer.step(step).loss, loss / residues, 1e-5 * loss / residues);
  }
}

// Whatever the sampler has learnt: validations of one run must be comparable.
TEST_F(DiffusionSampling, EvaluationHasUniformOrFixedTimesOfTheScheduleAndNoWeights) {
  constexpr std::uint32_t kSeed = 99;
  auto sampler = sampler_of_two_halves();
  auto changed = options();
  changed.effective_time = linear_beta_time;
  SmallTrainer small({.build = testing::build_known_denoiser, .options = changed, .sampler = &sampler});
  auto step = next_step();
  auto& batch = step.micro_batches[0];
  for (const std::optional<float> fixed : {std::optional<float>(), std::optional(0.25F), std::optional(0.5F)}) {
    double loss = 0.0, residues = 0.0;
    for (const auto& placed : batch.sequences) {
      const auto sequence = drawn(placed, kSeed);
      loss += loss_of(sequence, linear_beta_mix(fixed ? *fixed : sequence.uniform(0)));
      residues += static_cast<double>(sequence.residues);
    }
    auto sums = small.trainer.new_sums();
    small.trainer.evaluate(batch, kSeed, fixed, sums);
    const auto values = sums.reduced(*small.ranks);
    for (const auto* name : {"loss", "loss_unweighted"})
      EXPECT_NEAR(SmallTrainer::value_of(values, name), loss / residues, 1e-5 * loss / residues)
          << name << " at " << (fixed ? std::to_string(*fixed) : "times of its own");
  }
}

}  // namespace
}  // namespace lsd::train
