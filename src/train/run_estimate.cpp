// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/run_estimate.h"

#include <fmt/format.h>

#include <cstdlib>

#include "lsd/core/error.h"
#include "lsd/core/log.h"

namespace lsd::train {

double RunEstimate::operations() const {
  const auto per_token = 6.0 * static_cast<double>(parameters) + 2.0 * static_cast<double>(frozen_parameters);
  return per_token * static_cast<double>(tokens_per_step) * static_cast<double>(steps_left);
}

double RunEstimate::checkpoint_bytes() const {
  const auto blocks = ema ? 4.0 : 3.0;
  return 4.0 * blocks * static_cast<double>(parameters);
}

double RunEstimate::disk_bytes() const {
  return checkpoint_bytes() * static_cast<double>(checkpoints_kept + 1);
}

std::string RunEstimate::text(double tflops) const {
  const auto tokens = static_cast<double>(tokens_per_step) * static_cast<double>(steps_left);
  auto out = fmt::format(
      "estimate: {} of memory on each rank; {} of disk for checkpoints\n"
      "estimate: {} steps of up to {} tokens, {} tokens in all; {:.2g} operations",
      human_bytes(static_cast<double>(memory_bytes)), human_bytes(disk_bytes()), steps_left,
      human_count(static_cast<double>(tokens_per_step)), human_count(tokens), operations());
  if (tflops > 0.0)
    out += fmt::format("; {} at {:g} TFLOP/s on each of {} ranks",
                       human_duration(operations() / (tflops * 1e12 * static_cast<double>(ranks))), tflops, ranks);
  else
    out += "; the time follows from the first steps (or set LSD_TFLOPS, what one rank sustains)";
  return out;
}

double expected_tflops() {
  const char* text = std::getenv("LSD_TFLOPS");
  if (text == nullptr || *text == '\0') return 0.0;
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (*end != '\0' || !(value > 0.0))
    throw UserError(fmt::format("LSD_TFLOPS = '{}': a number above 0, in 10^12 operations/s of one rank", text));
  return value;
}

}  // namespace lsd::train
