// SPDX-License-Identifier: Apache-2.0
#pragma once
// Noise schedules of the variance-preserving process z_t = alpha(t) z + sigma(t) eps, alpha^2 + sigma^2 = 1. Any such
// schedule is a map from t to the effective time t' with alpha = cos(pi t'/2), sigma = sin(pi t'/2); ops and the
// denoiser work with t' alone.

#include <string_view>

namespace lsd::models {

enum class NoiseSchedule {
  cosine,       // alpha = cos(pi t / 2): t' = t
  linear_beta,  // Song et al. 2021, VP-SDE: ln alpha = -t^2 (beta1 - beta0) / 4 - t beta0 / 2, beta0 = 0.1, beta1 = 20
  sigmoid,      // Jabri et al. 2022: alpha^2 = (S(3) - S(6 t - 3)) / (S(3) - S(-3)), S the logistic function
};

NoiseSchedule noise_schedule_from_name(std::string_view name);  // throws UserError
double effective_time(NoiseSchedule schedule, double t);        // t, result in [0, 1]; increasing, 0 at 0

}  // namespace lsd::models
