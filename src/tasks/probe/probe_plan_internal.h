// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which results a probe's options ask for, and how their files are called.

#include <string>
#include <vector>

#include "lsd/tasks/probe.h"

namespace lsd::tasks {

std::string task_name(const ProbeConfig& config);
std::string model_name(const ProbeConfig& config);
// One per representation and, for those of a diffusion model, per t; none when features come from dumps. Score is left
// out at t = 0.
std::vector<FeatureConfig> planned_features(const ProbeConfig& config);
// What the options ask for and will not get.
std::vector<std::string> plan_notes(const ProbeConfig& config);
// The files of all results, baselines included.
std::vector<std::string> planned_files(const ProbeConfig& config);

}  // namespace lsd::tasks
