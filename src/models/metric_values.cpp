// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/error.h"
#include "lsd/models/model.h"

namespace lsd::models {
namespace {

double count_of(MetricCount count, const MetricCounts& counts) {
  switch (count) {
    case MetricCount::shares:
      return counts.shares;
    case MetricCount::residues:
      return counts.residues;
    case MetricCount::targets:
      return counts.targets;
  }
  return 0.0;
}

}  // namespace

std::vector<double> metric_values(const std::vector<MetricSpec>& specs, std::span<const double> slot_sums,
                                  const MetricCounts& counts) {
  std::vector<double> values;
  for (const auto& spec : specs) {
    check(spec.sum_slot >= 0 && static_cast<std::size_t>(spec.sum_slot) < slot_sums.size(), "a metric's slot exists");
    const double count = count_of(spec.count, counts);
    double value = count > 0 ? slot_sums[static_cast<std::size_t>(spec.sum_slot)] / count : 0.0;
    for (std::size_t i = 0; i < values.size() && !spec.plus.empty(); ++i)
      if (specs[i].name == spec.plus) value += spec.plus_factor * values[i];
    values.push_back(value);
  }
  return values;
}

}  // namespace lsd::models
