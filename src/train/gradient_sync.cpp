// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/gradient_sync.h"

#include <algorithm>

#include "lsd/core/error.h"

namespace lsd::train {

GradientSync::GradientSync(dist::TensorCollectives& collectives, TensorView gradients, std::int64_t bucket_elements)
    : collectives_(collectives), gradients_(gradients), bucket_elements_(bucket_elements) {
  check(bucket_elements > 0, "a gradient bucket holds at least one element");
  for (std::int64_t begin = 0; begin < gradients.elements(); begin += bucket_elements)
    buckets_.push_back({begin, std::min(bucket_elements, gradients.elements() - begin), 0, true});
  tickets_.reserve(buckets_.size());
}

void GradientSync::begin() {
  tickets_.clear();
  started_early_ = 0;
  for (auto& bucket : buckets_) {
    bucket.missing = bucket.count;
    bucket.started = false;
  }
}

void GradientSync::on_gradients_final(std::int64_t begin, std::int64_t end) {
  check(begin >= 0 && begin <= end && end <= gradients_.elements(), "final gradients lie within the block");
  for (auto at = begin; at < end;) {
    auto& bucket = buckets_[static_cast<std::size_t>(at / bucket_elements_)];
    const auto stop = std::min(end, bucket.begin + bucket.count);
    bucket.missing -= stop - at;
    check(bucket.missing >= 0, "no gradient is reported final twice");
    if (bucket.missing == 0) {
      start(bucket);
      ++started_early_;
    }
    at = stop;
  }
}

void GradientSync::start(Bucket& bucket) {
  bucket.started = true;
  tickets_.push_back(collectives_.all_reduce_sum(gradients_.slice(bucket.begin, bucket.count)));
}

void GradientSync::finish() {
  for (auto bucket = buckets_.rbegin(); bucket != buckets_.rend(); ++bucket)
    if (!bucket->started) start(*bucket);
  for (const auto ticket : tickets_) collectives_.wait(ticket);
  tickets_.clear();
}

}  // namespace lsd::train
