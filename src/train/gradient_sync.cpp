// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/gradient_sync.h"

#include <algorithm>

#include "lsd/core/error.h"

namespace lsd::train {

GradientSync::GradientSync(dist::TensorCollectives& collectives, TensorView gradients, BlockLayout layout, SumTo to)
    : collectives_(collectives), gradients_(gradients), layout_(std::move(layout)) {
  check(layout_.elements() == gradients.elements(), "the layout is that of the gradient block");
  for (std::size_t bucket = 0; bucket < layout_.buckets().size(); ++bucket) {
    const auto all = layout_.buckets()[bucket];
    buckets_.push_back({all, to == SumTo::slices ? layout_.slice(bucket, layout_.rank()) : all, 0, true});
  }
  if (layout_.rest().count > 0) buckets_.push_back({layout_.rest(), layout_.rest(), 0, true});
  tickets_.reserve(buckets_.size());
}

void GradientSync::begin() {
  tickets_.clear();
  started_early_ = 0;
  for (auto& bucket : buckets_) {
    bucket.missing = bucket.all.count;
    bucket.started = false;
  }
}

void GradientSync::on_gradients_final(std::int64_t begin, std::int64_t end) {
  check(begin >= 0 && begin <= end && end <= gradients_.elements(), "final gradients lie within the block");
  const auto behind = [](std::int64_t at, const Bucket& bucket) { return at < bucket.all.end(); };
  auto bucket = std::upper_bound(buckets_.begin(), buckets_.end(), begin, behind);
  for (auto at = begin; at < end; ++bucket) {
    const auto stop = std::min(end, bucket->all.end());
    bucket->missing -= stop - at;
    check(bucket->missing >= 0, "no gradient is reported final twice");
    if (bucket->missing == 0) {
      start(*bucket);
      ++started_early_;
    }
    at = stop;
  }
}

void GradientSync::start(Bucket& bucket) {
  bucket.started = true;
  const auto all = gradients_.slice(bucket.all.begin, bucket.all.count);
  if (bucket.mine == bucket.all)
    tickets_.push_back(collectives_.all_reduce_sum(all));
  else
    tickets_.push_back(collectives_.reduce_scatter_sum(all, gradients_.slice(bucket.mine.begin, bucket.mine.count)));
}

void GradientSync::finish() {
  for (auto bucket = buckets_.rbegin(); bucket != buckets_.rend(); ++bucket)
    if (!bucket->started) start(*bucket);
  for (const auto ticket : tickets_) collectives_.wait(ticket);
  tickets_.clear();
}

}  // namespace lsd::train
