// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/metrics.h"

#include <algorithm>

#include "lsd/core/error.h"

namespace lsd::train {

MetricSums::MetricSums(std::vector<models::MetricSpec> specs, int slots)
    : specs_(std::move(specs)), sums_(static_cast<std::size_t>(slots) + kCounts) {
  for (const auto& spec : specs_) check(spec.sum_slot >= 0 && spec.sum_slot < slots, "metric slots lie in range");
}

void MetricSums::add(std::span<const float> slots, const models::MetricCounts& counts) {
  check(slots.size() + kCounts == sums_.size(), "one value per metric slot");
  for (std::size_t slot = 0; slot < slots.size(); ++slot) sums_[slot] += static_cast<double>(slots[slot]);
  sums_[slots.size()] += counts.shares;
  sums_[slots.size() + 1] += counts.residues;
  sums_[slots.size() + 2] += counts.targets;
}

void MetricSums::clear() {
  std::fill(sums_.begin(), sums_.end(), 0.0);
}

std::vector<std::pair<std::string, double>> MetricSums::reduced(dist::HostCommunicator& ranks) const {
  auto total = sums_;
  ranks.all_reduce_sum(std::span<double>(total));
  const auto slots = total.size() - kCounts;
  const auto values = models::metric_values(specs_, std::span<const double>(total).first(slots),
                                            {total[slots], total[slots + 1], total[slots + 2]});
  std::vector<std::pair<std::string, double>> out;
  for (std::size_t i = 0; i < specs_.size(); ++i) out.emplace_back(specs_[i].name, values[i]);
  return out;
}

void MetricSums::set_sums(std::vector<double> sums) {
  if (sums.size() != sums_.size())
    throw DataError("the checkpoint holds " + std::to_string(sums.size()) + " metric sums, this model has " +
                    std::to_string(sums_.size()) + ": it is of another model or version");
  sums_ = std::move(sums);
}

}  // namespace lsd::train
