// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/gradient_sync.h"

#include <gtest/gtest.h>

#include <numeric>

#include "lsd/core/error.h"

namespace lsd::train {
namespace {

// Doubles what it is given, as two ranks with equal values would, and notes the order.
class DoublingCollectives : public dist::TensorCollectives {
 public:
  std::string_view name() const override { return "doubling"; }
  Ticket all_reduce_sum(TensorView values) override {
    for (auto& value : values.span<float>()) value *= 2.0F;
    started.push_back(values.elements());
    return static_cast<Ticket>(started.size());
  }
  Ticket reduce_scatter_sum(ConstTensorView, TensorView) override { return 0; }
  Ticket all_gather(ConstTensorView, TensorView) override { return 0; }
  Ticket broadcast(TensorView, int) override { return 0; }
  void wait(Ticket ticket) override { waited.push_back(ticket); }
  std::vector<std::int64_t> started;
  std::vector<Ticket> waited;
};

struct Block {
  std::vector<float> values = std::vector<float>(1000, 1.0F);
  TensorView view() { return {values.data(), DType::float32, Shape{1000}}; }
};

TEST(GradientSync, SumsEveryElementOnceAndWaitsForEveryBucket) {
  Block block;
  DoublingCollectives collectives;
  GradientSync sync(collectives, block.view(), 300);
  for (int step = 0; step < 2; ++step) {
    std::fill(block.values.begin(), block.values.end(), 1.0F);
    sync.begin();
    sync.on_gradients_final(640, 1000);  // buckets: 0-300, 300-600, 600-900, 900-1000
    sync.on_gradients_final(200, 640);
    sync.finish();
    for (const float value : block.values) ASSERT_EQ(value, 2.0F);
    EXPECT_EQ(sync.buckets_started_early(), 3);
  }
  EXPECT_EQ(collectives.started.size(), 8U);
  EXPECT_EQ(collectives.waited.size(), 8U);
  EXPECT_EQ(collectives.started.front(), 100) << "the last bucket is complete first";
}

TEST(GradientSync, StartsWhatBackwardNeverReported) {
  Block block;
  DoublingCollectives collectives;
  GradientSync sync(collectives, block.view(), 300);
  sync.begin();
  sync.finish();
  for (const float value : block.values) ASSERT_EQ(value, 2.0F);
  EXPECT_EQ(sync.buckets_started_early(), 0);
}

TEST(GradientSync, RefusesARangeReportedTwice) {
  Block block;
  DoublingCollectives collectives;
  GradientSync sync(collectives, block.view(), 300);
  sync.begin();
  sync.on_gradients_final(0, 300);
  EXPECT_THROW(sync.on_gradients_final(0, 1), InternalError);
}

}  // namespace
}  // namespace lsd::train
