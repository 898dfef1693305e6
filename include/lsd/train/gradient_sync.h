// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sums the flat gradient block over ranks in contiguous buckets. A bucket starts as soon as backward has reported all
// of its elements final, so most of the sum is done while earlier layers still run backward. Nothing is copied: buckets
// are slices of the block. All ranks run the same model, so they start the same buckets in the same order.

#include <cstdint>
#include <vector>

#include "lsd/dist/tensor_collectives.h"

namespace lsd::train {

class GradientSync {
 public:
  static constexpr std::int64_t kDefaultBucket = 4 << 20;  // elements: 16 MiB

  GradientSync(dist::TensorCollectives& collectives, TensorView gradients,
               std::int64_t bucket_elements = kDefaultBucket);

  // Before the backward pass of the last micro-batch.
  void begin();
  void on_gradients_final(std::int64_t begin, std::int64_t end);
  // Starts what has not started (alignment gaps are never reported), then orders later ops behind all sums.
  void finish();
  std::int64_t buckets_started_early() const { return started_early_; }  // in the last step
  std::int64_t num_buckets() const { return static_cast<std::int64_t>(buckets_.size()); }

 private:
  struct Bucket {
    std::int64_t begin, count, missing;
    bool started;
  };
  void start(Bucket& bucket);

  dist::TensorCollectives& collectives_;
  TensorView gradients_;
  std::vector<Bucket> buckets_;
  std::vector<dist::TensorCollectives::Ticket> tickets_;
  std::int64_t bucket_elements_, started_early_ = 0;
};

}  // namespace lsd::train
