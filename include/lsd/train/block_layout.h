// SPDX-License-Identifier: Apache-2.0
#pragma once
// How the flat parameter block is cut over ranks: into buckets, whose gradients are summed together, and each bucket
// into one slice per rank. A rank's slices are what it computes the gradient's norm of, and all it keeps of the
// optimizer's state when that is sharded. Fewer than 64 elements per rank stay over at the end: the rest belongs to
// every rank.

#include <cstdint>
#include <vector>

namespace lsd::train {

struct BlockSlice {
  std::int64_t begin = 0, count = 0;  // elements
  std::int64_t end() const { return begin + count; }
  bool operator==(const BlockSlice&) const = default;
};

class BlockLayout {
 public:
  static constexpr std::int64_t kDefaultBucket = 4 << 20;  // elements: 16 MiB

  // Buckets hold about `bucket_elements`: a multiple of what slices of 64 elements per rank need.
  BlockLayout(std::int64_t elements, int ranks, int rank, std::int64_t bucket_elements = kDefaultBucket);

  std::int64_t elements() const { return elements_; }
  int ranks() const { return ranks_; }
  int rank() const { return rank_; }
  const std::vector<BlockSlice>& buckets() const { return buckets_; }  // without the rest
  BlockSlice rest() const { return rest_; }                            // count may be 0
  std::int64_t bucket_elements() const { return bucket_elements_; }    // of all but the last

  BlockSlice slice(std::size_t bucket, int rank) const;
  // What a rank keeps, ascending: its slice of each bucket, then the rest.
  std::vector<BlockSlice> kept_by(int rank) const;
  // Parts of the block that together cover it once over all ranks.
  std::vector<BlockSlice> counted_by(int rank) const;

 private:
  std::int64_t elements_, bucket_elements_;
  int ranks_, rank_;
  std::vector<BlockSlice> buckets_;
  BlockSlice rest_;
};

std::int64_t elements_of(const std::vector<BlockSlice>& slices);

}  // namespace lsd::train
