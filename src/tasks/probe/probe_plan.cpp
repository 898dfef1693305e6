// SPDX-License-Identifier: Apache-2.0
#include "probe_plan_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "lsd/core/error.h"
#include "lsd/models/representations.h"
#include "probe_result_internal.h"
#include "stored_features_internal.h"

namespace lsd::tasks {
namespace {

std::string stem_of(const std::filesystem::path& file) {
  auto name = file.filename();
  while (name.has_extension()) name = name.stem();
  return name.string();
}

// score = -eps / sin: no number at t = 0.
bool is_singular(const std::string& representation, double time) {
  return representation == "score" && time == 0.0;
}

std::vector<std::string> representations_of(const ProbeConfig& config) {
  const auto& names = config.sweep.representations;
  return names.empty() ? std::vector{config.features.representation} : names;
}

std::vector<double> times_of(const ProbeConfig& config) {
  const auto& times = config.sweep.times;
  return times.empty() ? std::vector{config.features.time} : times;
}

// How many of its t the score is asked for and has none at.
std::ptrdiff_t singular_times(const ProbeConfig& config) {
  const auto names = representations_of(config);
  const auto times = times_of(config);
  const bool asked = config.features.dump.empty() && std::ranges::count(names, "score") > 0;
  return asked ? std::ranges::count(times, 0.0) : 0;
}

// One result per head and seed.
void add_heads(const ProbeConfig& config, ProbeResult result, std::vector<std::string>& files) {
  for (const auto& head : config.sweep.heads) {
    for (const double seed : config.sweep.seeds) {
      result.head = head;
      result.seed = static_cast<std::int64_t>(seed);
      files.push_back(result.file_name());
    }
  }
}

}  // namespace

std::string task_name(const ProbeConfig& config) {
  return config.task.name.empty() ? stem_of(config.task.file) : config.task.name;
}

// The name of the last folder that says something: runs/nm/checkpoints -> nm.
std::string model_name(const ProbeConfig& config) {
  if (!config.run.model.empty()) return config.run.model;
  const auto& dump = config.features.dump;
  auto path = std::filesystem::path(dump.empty() ? config.features.autoencoder : dump.front()).lexically_normal();
  while (path.has_filename() == false || path.filename().string().starts_with("checkpoint")) path = path.parent_path();
  return path.filename().string();
}

std::vector<FeatureConfig> planned_features(const ProbeConfig& config) {
  if (!config.features.dump.empty()) return {};
  std::vector<FeatureConfig> all;
  for (const auto& name : representations_of(config)) {
    FeatureConfig features = config.features;
    features.representation = name;
    const bool encoder = models::representation_from_name(name) == models::Representation::encoder;
    for (const double time : encoder ? std::vector<double>{0.0} : times_of(config)) {
      if (is_singular(name, time)) continue;
      features.time = time;
      features.validate();
      all.push_back(features);
    }
  }
  return all;
}

std::vector<std::string> plan_notes(const ProbeConfig& config) {
  return singular_times(config) > 0 ? std::vector<std::string>{"score at t = 0 is left out, where it is singular; its "
                                                               "other t are probed"}
                                    : std::vector<std::string>{};
}

std::vector<std::string> planned_files(const ProbeConfig& config) {
  std::vector<std::string> files;
  ProbeResult result{.task = task_name(config)};
  if (config.sweep.baselines) {
    result.model = "baseline";
    result.representation = "composition";
    add_heads(config, result, files);
    result.representation = "majority";
    result.head = "none";
    files.push_back(result.file_name());
  }
  result.model = model_name(config);
  for (const auto& set : stored_feature_sets(config.features.dump)) {
    result.representation = set.identity.representation;
    result.time = set.identity.time;
    add_heads(config, result, files);
  }
  for (const auto& features : planned_features(config)) {
    result.representation = features.representation;
    result.time = features.time;
    add_heads(config, result, files);
  }
  return files;
}

void ProbeFeatureConfig::validate() const {
  if (dump.empty()) return FeatureConfig::validate();
  if (!autoencoder.empty() || !diffusion.empty())
    throw UserError("give features.dump, or the models that features are computed with, not both");
}

void ProbeConfig::validate() const {
  if (singular_times(*this) == 0 || singular_times(*this) < static_cast<std::ptrdiff_t>(times_of(*this).size())) return;
  throw UserError(
      "score is singular at t = 0, the only t to probe: give sweep.times (or features.time) above 0, or take score out "
      "of sweep.representations");
}

void ProbeSweepConfig::validate() const {
  for (const auto& head : heads) {
    if (head != "linear" && head != "mlp")
      throw UserError(fmt::format("sweep.heads: unknown head `{}`; use linear, mlp", head));
  }
  for (const auto& name : representations) models::representation_from_name(name);
  for (const double seed : seeds) {
    if (seed != static_cast<double>(static_cast<std::int64_t>(seed)))
      throw UserError("sweep.seeds: seeds are whole numbers");
  }
}

}  // namespace lsd::tasks
