// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which results belong together, and how those of one name are told apart.

#include <map>
#include <string>
#include <vector>

#include "../probe/probe_result_internal.h"

namespace lsd::tasks {

bool is_baseline(const ProbeResult& result);
// The options that decide a head; the number of resamples decides its interval only.
std::map<std::string, double> options_of_head(const ProbeResult& result);

// For each result, its model's name. Where one name stands for several weights, with what tells them apart: the folder
// of their results that differs ("nm [runs_b]"), or else the fingerprint of the weights.
std::vector<std::string> label_models(const std::vector<ProbeResult>& results);
// For each result, its head's name, with the options that heads of this name do not share ("mlp (epochs 3)").
std::vector<std::string> label_heads(const std::vector<ProbeResult>& results);

}  // namespace lsd::tasks
