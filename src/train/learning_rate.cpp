// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace lsd::train {

double LearningRate::at(std::int64_t step) const {
  if (step <= warmup_steps) return peak * static_cast<double>(step) / static_cast<double>(warmup_steps);
  const auto decay_steps = std::max<std::int64_t>(total_steps - warmup_steps, 1);
  const double progress = std::min(1.0, static_cast<double>(step - warmup_steps) / static_cast<double>(decay_steps));
  const double cosine = 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return peak * (final_fraction + (1.0 - final_fraction) * cosine);
}

}  // namespace lsd::train
