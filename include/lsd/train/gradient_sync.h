// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sums the flat gradient block over ranks in contiguous buckets. A bucket starts as soon as backward has reported all
// of its elements final, so most of the sum is done while earlier layers still run backward. Nothing is copied: buckets
// are slices of the block. All ranks run the same model, so they start the same buckets in the same order.

#include <cstdint>
#include <vector>

#include "lsd/dist/tensor_collectives.h"
#include "lsd/train/block_layout.h"

namespace lsd::train {

// What each rank has behind the sum: the whole block, or its slices of it (the others then hold no sums).
enum class SumTo : std::uint8_t { every_rank, slices };

class GradientSync {
 public:
  GradientSync(dist::TensorCollectives& collectives, TensorView gradients, BlockLayout layout,
               SumTo to = SumTo::every_rank);

  // Before the backward pass of the last micro-batch.
  void begin();
  // Elements [begin, end) will not change any more.
  void on_gradients_final(std::int64_t begin, std::int64_t end);
  // Starts what has not started (alignment gaps are never reported), then orders later ops behind all sums.
  void finish();
  std::int64_t buckets_started_early() const { return started_early_; }  // in the last step
  std::int64_t num_buckets() const { return static_cast<std::int64_t>(buckets_.size()); }
  const BlockLayout& layout() const { return layout_; }

 private:
  struct Bucket {
    BlockSlice all, mine;  // the same where every rank gets all
    std::int64_t missing;
    bool started;
  };
  void start(Bucket& bucket);

  dist::TensorCollectives& collectives_;
  TensorView gradients_;
  BlockLayout layout_;
  std::vector<Bucket> buckets_;
  std::vector<dist::TensorCollectives::Ticket> tickets_;
  std::int64_t started_early_ = 0;
};

}  // namespace lsd::train
