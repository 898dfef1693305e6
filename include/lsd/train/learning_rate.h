// SPDX-License-Identifier: Apache-2.0
#pragma once
// Learning rate by step: linear warm-up to the peak, then half a cosine down to a fraction of it, constant afterwards.

#include <cstdint>

namespace lsd::train {

struct LearningRate {
  double peak = 4e-4;
  std::int64_t warmup_steps = 2000;
  std::int64_t total_steps = 500000;
  double final_fraction = 0.1;

  // Of step number `step`, counted from 1: step warmup_steps has the peak, step total_steps the final value.
  double at(std::int64_t step) const;
};

}  // namespace lsd::train
