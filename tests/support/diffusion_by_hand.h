// SPDX-License-Identifier: Apache-2.0
#pragma once
// The forward process of the diffusion model from its definitions (docs/maths/diffusion.md), for tests that work losses
// out by hand: times and noise by coordinates, schedules as their papers give them, and the target.

#include <cmath>
#include <cstdint>
#include <numbers>

#include "lsd/core/philox.h"

namespace lsd::testing {

// z_t = alpha z + sigma eps.
struct Mix {
  double alpha = 1.0, sigma = 0.0;
};

inline Mix cosine_mix(double t) {
  return {std::cos(0.5 * std::numbers::pi * t), std::sin(0.5 * std::numbers::pi * t)};
}

// The variance-preserving process of Song et al. 2021 with beta from 0.1 to 20.
inline Mix linear_beta_mix(double t) {
  const double alpha = std::exp(-0.25 * t * t * (20.0 - 0.1) - 0.5 * t * 0.1);
  return {alpha, std::sqrt(1.0 - alpha * alpha)};
}

// One sequence of a batch: where its draws come from, and how many residues it has. They stand at positions 1, 2, ...
struct DrawnSequence {
  std::uint32_t seed = 0;
  std::int64_t visit = 0, residues = 0;

  // Numbers in (0, 1): the first is t itself where nothing is sampled by importance.
  double uniform(int which) const {
    const auto words =
        random_words(random_key(seed, RandomStream::diffusion_time), 0, static_cast<std::uint64_t>(visit));
    return static_cast<double>(uniform_from_word(words.word[which]));
  }
  // Standard normal of one element, counted over positions and dimensions (Box-Muller, core/philox.h).
  double noise(std::uint32_t element) const {
    const auto words =
        random_words(random_key(seed, RandomStream::diffusion_noise), element / 4, static_cast<std::uint64_t>(visit));
    const auto pair = element % 4 / 2 * 2;
    const double radius = std::sqrt(-2.0 * std::log(static_cast<double>(uniform_from_word(words.word[pair]))));
    const double angle = 2.0 * std::numbers::pi * static_cast<double>(uniform_from_word(words.word[pair + 1]));
    return radius * (element % 2 == 0 ? std::cos(angle) : std::sin(angle));
  }
};

// Calls use(column, v) with the target v = alpha eps - sigma z of every residue and dimension; z(position, column) is
// the clean latent.
template <class Latent, class Use>
void for_each_target(const DrawnSequence& sequence, std::int64_t width, Mix mix, Latent&& z, Use&& use) {
  for (std::int64_t position = 1; position <= sequence.residues; ++position)
    for (std::int64_t column = 0; column < width; ++column) {
      const double eps = sequence.noise(static_cast<std::uint32_t>(position * width + column));
      use(column, mix.alpha * eps - mix.sigma * z(position, column));
    }
}

// Sum over residues of the mean squared target: what a denoiser that predicts 0 is off by.
template <class Latent>
double squared_target(const DrawnSequence& sequence, std::int64_t width, Mix mix, Latent&& z) {
  double sum = 0.0;
  for_each_target(sequence, width, mix, z, [&](std::int64_t, double v) { sum += v * v; });
  return sum / static_cast<double>(width);
}

}  // namespace lsd::testing
