// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sums of float32 blocks in host memory over ranks, each element in rank order: ((x0 + x1) + x2) + ... Whoever adds,
// the bits are the same, so neither the slicing nor the bucket sizes show in results.

#include <span>
#include <vector>

#include "lsd/dist/host_communicator.h"

namespace lsd::dist {

class OrderedSum {
 public:
  explicit OrderedSum(HostCommunicator& ranks) : ranks_(ranks) {}
  void all_reduce(std::span<float> values);
  void reduce_scatter(std::span<const float> values, std::span<float> slice);
  void all_gather(std::span<const float> slice, std::span<float> values);

 private:
  void all_reduce_piece(std::span<float> values);
  // Rank r's part [begin(r), begin(r + 1)) of n elements; the first n % ranks parts have one more.
  std::size_t begin(std::size_t n, int rank) const;
  // Sums what every rank has for this rank; `own` is this rank's contribution and may be `sum` itself.
  void sum_in_rank_order(std::span<const float> own, std::span<float> sum);

  HostCommunicator& ranks_;
  std::vector<float> received_;  // ranks x part
};

}  // namespace lsd::dist
