// SPDX-License-Identifier: Apache-2.0
#pragma once
// A model's reported numbers: float32 sums of one step on the device, added up on the host in double over steps, summed
// over ranks only when somebody wants to see them.

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "lsd/dist/host_communicator.h"
#include "lsd/models/model.h"

namespace lsd::train {

class MetricSums {
 public:
  MetricSums(std::vector<models::MetricSpec> specs, int slots);

  void add(std::span<const float> slots, const models::MetricCounts& counts);
  void clear();
  bool empty() const { return sums_[sums_.size() - kCounts] == 0.0; }
  // Name and value of every metric over all ranks, in the model's order. Collective; leaves the sums as they are.
  std::vector<std::pair<std::string, double>> reduced(dist::HostCommunicator& ranks) const;

  const std::vector<double>& sums() const { return sums_; }
  void set_sums(std::vector<double> sums);  // of a checkpoint; throws DataError on another size

 private:
  static constexpr std::size_t kCounts = 3;
  std::vector<models::MetricSpec> specs_;
  std::vector<double> sums_;  // slots, then shares, residues, targets
};

}  // namespace lsd::train
