// SPDX-License-Identifier: Apache-2.0
#include "result_labels_internal.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <tuple>

namespace lsd::tasks {
namespace {

using Indices = std::vector<std::size_t>;

std::vector<std::string> parts_of(const std::filesystem::path& file) {
  std::vector<std::string> parts;
  for (const auto& part : file.parent_path().lexically_normal()) parts.push_back(part.string());
  return parts;
}

// The first place where the paths of two files differ.
std::size_t first_difference(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  std::size_t place = 0;
  while (place < std::min(a.size(), b.size()) && a[place] == b[place]) ++place;
  return place;
}

// Labels for the results of one task and model name.
class ModelLabels {
 public:
  ModelLabels(const std::vector<ProbeResult>& results, const Indices& members) : results_(results), members_(members) {
    // Representations have weights of their own (those of two models, or one), so each is looked at by itself.
    using Features = std::tuple<std::string, double, std::string, std::int64_t, std::int64_t>;
    std::map<Features, Indices> groups;
    for (const auto i : members) {
      const auto& result = results[i];
      groups[{result.representation, result.time, result.input, result.draws, result.noise_seed}].push_back(i);
    }
    for (auto& [features, group] : groups) {
      const bool several =
          std::ranges::any_of(group, [&](auto i) { return results[i].weights != results[group.front()].weights; });
      if (several) mixed_.push_back(std::move(group));
    }
  }

  void write(std::vector<std::string>& labels) const {
    if (mixed_.empty()) return;
    const auto place = differing_place();
    const bool by_folder = std::ranges::all_of(mixed_, [&](const auto& group) { return tells_apart(group, place); });
    const bool one_encoder = std::ranges::none_of(mixed_, [&](const auto& group) { return is_encoder(group.front()); });
    for (const auto i : members_) {
      if (one_encoder && is_encoder(i)) continue;  // the encoder of all of them
      const auto label = by_folder ? folder(i, place) : short_weights(i);
      labels[i] = fmt::format("{} [{}]", results_[i].model, label);
    }
  }

 private:
  bool is_encoder(std::size_t i) const { return results_[i].representation == "encoder"; }
  std::size_t differing_place() const {
    const auto& group = mixed_.front();
    const auto other =
        std::ranges::find_if(group, [&](auto i) { return results_[i].weights != results_[group.front()].weights; });
    return first_difference(parts_of(results_[group.front()].file), parts_of(results_[*other].file));
  }
  std::string folder(std::size_t i, std::size_t place) const {
    const auto parts = parts_of(results_[i].file);
    return place < parts.size() ? parts[place] : "";
  }
  // The first digits, or all when models differ in their packing alone.
  std::string short_weights(std::size_t i) const {
    const auto& weights = results_[i].weights;
    const bool alone = std::ranges::none_of(members_, [&](auto other) {
      return results_[other].weights != weights && results_[other].weights.starts_with(weights.substr(0, 8));
    });
    return alone ? weights.substr(0, 8) : weights;
  }
  // One folder for each weights, and another one for others.
  bool tells_apart(const Indices& group, std::size_t place) const {
    std::set<std::string> weights, folders;
    std::set<std::pair<std::string, std::string>> both;
    for (const auto i : group) {
      if (folder(i, place).empty()) return false;
      weights.insert(results_[i].weights);
      folders.insert(folder(i, place));
      both.emplace(results_[i].weights, folder(i, place));
    }
    return weights.size() == folders.size() && both.size() == weights.size();
  }

  const std::vector<ProbeResult>& results_;
  const Indices& members_;
  std::vector<Indices> mixed_;  // results of the same features and several weights
};

}  // namespace

bool is_baseline(const ProbeResult& result) {
  return result.model == "baseline";
}

std::map<std::string, double> options_of_head(const ProbeResult& result) {
  auto options = result.head_options;
  options.erase("resamples");
  return options;
}

std::vector<std::string> label_models(const std::vector<ProbeResult>& results) {
  std::vector<std::string> labels;
  std::map<std::pair<std::string, std::string>, Indices> names;
  for (std::size_t i = 0; i < results.size(); ++i) {
    labels.push_back(results[i].model);
    if (!is_baseline(results[i])) names[{results[i].task, results[i].model}].push_back(i);
  }
  for (const auto& [name, members] : names) ModelLabels(results, members).write(labels);
  return labels;
}

std::vector<std::string> label_heads(const std::vector<ProbeResult>& results) {
  std::map<std::pair<std::string, std::string>, std::map<std::string, std::set<double>>> values;  // by task and head
  for (const auto& result : results) {
    for (const auto& [name, value] : options_of_head(result)) values[{result.task, result.head}][name].insert(value);
  }
  std::vector<std::string> labels;
  for (const auto& result : results) {
    std::vector<std::string> differing;
    for (const auto& [name, value] : options_of_head(result)) {
      if (values[{result.task, result.head}][name].size() > 1) differing.push_back(fmt::format("{} {:g}", name, value));
    }
    labels.push_back(differing.empty() ? result.head : fmt::format("{} ({})", result.head, fmt::join(differing, ", ")));
  }
  return labels;
}

}  // namespace lsd::tasks
