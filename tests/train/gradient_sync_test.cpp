// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/gradient_sync.h"

#include <gmock/gmock.h>
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
  BlockLayout layout{1000, 1, 0, 300};  // buckets: 0-256, 256-512, 512-768, 768-960; rest: 960-1000
  TensorView view() { return {values.data(), DType::float32, Shape{1000}}; }
};

TEST(GradientSync, SumsEveryElementOnceAndWaitsForEveryBucket) {
  Block block;
  DoublingCollectives collectives;
  GradientSync sync(collectives, block.view(), block.layout);
  for (int step = 0; step < 2; ++step) {
    std::fill(block.values.begin(), block.values.end(), 1.0F);
    sync.begin();
    sync.on_gradients_final(640, 1000);
    sync.on_gradients_final(200, 640);
    sync.finish();
    for (const float value : block.values) ASSERT_EQ(value, 2.0F);
    EXPECT_EQ(sync.buckets_started_early(), 4);
  }
  EXPECT_EQ(collectives.started.size(), 10U);
  EXPECT_EQ(collectives.waited.size(), 10U);
  EXPECT_THAT((std::vector<std::int64_t>(collectives.started.begin(), collectives.started.begin() + 5)),
              ::testing::ElementsAre(192, 40, 256, 256, 256));
}

TEST(GradientSync, StartsWhatBackwardNeverReported) {
  Block block;
  DoublingCollectives collectives;
  GradientSync sync(collectives, block.view(), block.layout);
  sync.begin();
  sync.finish();
  for (const float value : block.values) ASSERT_EQ(value, 2.0F);
  EXPECT_EQ(sync.buckets_started_early(), 0);
}

TEST(GradientSync, RefusesARangeReportedTwice) {
  Block block;
  DoublingCollectives collectives;
  GradientSync sync(collectives, block.view(), block.layout);
  sync.begin();
  sync.on_gradients_final(0, 300);
  EXPECT_THROW(sync.on_gradients_final(0, 1), InternalError);
}

}  // namespace
}  // namespace lsd::train
