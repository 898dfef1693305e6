// SPDX-License-Identifier: Apache-2.0
#include "lsd/models/noise_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

#include "lsd/core/error.h"

namespace lsd::models {
namespace {

double logistic(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

// sigma^2 = 1 - alpha^2, formed without the cancellation at small t.
double sigma_squared(NoiseSchedule schedule, double t) {
  if (schedule == NoiseSchedule::linear_beta) {
    constexpr double kBeta0 = 0.1, kBeta1 = 20.0;
    return -std::expm1(-0.5 * t * t * (kBeta1 - kBeta0) - t * kBeta0);
  }
  const double begin = logistic(-3.0), end = logistic(3.0);
  return (logistic(6.0 * t - 3.0) - begin) / (end - begin);
}

}  // namespace

NoiseSchedule noise_schedule_from_name(std::string_view name) {
  if (name == "cosine") return NoiseSchedule::cosine;
  if (name == "linear_beta") return NoiseSchedule::linear_beta;
  if (name == "sigmoid") return NoiseSchedule::sigmoid;
  throw UserError("there is no noise schedule '" + std::string(name) + "': use cosine, linear_beta or sigmoid");
}

double effective_time(NoiseSchedule schedule, double t) {
  if (schedule == NoiseSchedule::cosine) return t;
  const double sigma = std::sqrt(std::clamp(sigma_squared(schedule, t), 0.0, 1.0));
  return std::asin(sigma) * 2.0 / std::numbers::pi;
}

}  // namespace lsd::models
