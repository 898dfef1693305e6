// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/block_layout.h"

#include <algorithm>

#include "lsd/core/error.h"
#include "lsd/nn/parameter_store.h"

namespace lsd::train {

BlockLayout::BlockLayout(std::int64_t elements, int ranks, int rank, std::int64_t bucket_elements)
    : elements_(elements), ranks_(ranks), rank_(rank) {
  check(bucket_elements > 0, "a gradient bucket holds at least one element");
  check(elements >= 0 && ranks > 0 && rank >= 0 && rank < ranks, "a block is cut over ranks");
  const std::int64_t unit = nn::ParameterStore::kAlignment * ranks;
  bucket_elements_ = std::max<std::int64_t>(bucket_elements / unit, 1) * unit;
  const auto main = elements / unit * unit;
  for (std::int64_t begin = 0; begin < main; begin += bucket_elements_)
    buckets_.push_back({begin, std::min(bucket_elements_, main - begin)});
  rest_ = {main, elements - main};
}

BlockSlice BlockLayout::slice(std::size_t bucket, int rank) const {
  const auto& whole = buckets_[bucket];
  const auto count = whole.count / ranks_;
  return {whole.begin + rank * count, count};
}

std::vector<BlockSlice> BlockLayout::kept_by(int rank) const {
  std::vector<BlockSlice> slices;
  for (std::size_t bucket = 0; bucket < buckets_.size(); ++bucket) slices.push_back(slice(bucket, rank));
  if (rest_.count > 0) slices.push_back(rest_);
  return slices;
}

std::vector<BlockSlice> BlockLayout::counted_by(int rank) const {
  if (ranks_ == 1) return {{0, elements_}};
  auto slices = kept_by(rank);
  if (rank > 0 && rest_.count > 0) slices.pop_back();
  return slices;
}

std::int64_t elements_of(const std::vector<BlockSlice>& slices) {
  std::int64_t elements = 0;
  for (const auto& slice : slices) elements += slice.count;
  return elements;
}

}  // namespace lsd::train
