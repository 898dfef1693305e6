// SPDX-License-Identifier: Apache-2.0
#include "lsd/nn/parameter_store.h"

#include <gtest/gtest.h>

#include <cmath>

#include "lsd/backends/make_backend.h"
#include "lsd/core/error.h"

namespace lsd::nn {
namespace {

TEST(ParameterStore, ParametersStartAtMultiplesOf64AndCoverTheBlock) {
  ParameterStore store;
  store.add("a", Shape{3, 5}, {}, true);
  store.add("b", Shape{64}, {}, false);
  store.add("c", Shape{65}, {}, true);
  EXPECT_EQ(store.infos()[1].offset, 64);
  EXPECT_EQ(store.infos()[2].offset, 128);
  EXPECT_EQ(store.elements(), 256);
  EXPECT_EQ(store.count(), 15 + 64 + 65);
  EXPECT_EQ(store.decay_blocks(), (std::vector<std::uint8_t>{1, 0, 1, 1}));
}

TEST(ParameterStore, ViewsShareTheBlocks) {
  const auto backend = backends::make_reference_backend();
  ParameterStore store;
  store.add("a", Shape{3}, {}, true);
  const Parameter* b = store.add("b", Shape{2, 2}, {}, true);
  store.allocate(*backend, DType::float32, true);
  b->compute.span<float>()[1] = 5.0F;
  b->grad.span<float>()[3] = 7.0F;
  EXPECT_EQ(store.compute_block().span<float>()[65], 5.0F);
  EXPECT_EQ(store.grad_block().span<float>()[67], 7.0F);
  EXPECT_EQ(b->compute.shape(), (Shape{2, 2}));
}

TEST(ParameterStore, WithoutGradientsThereAreNone) {
  const auto backend = backends::make_reference_backend();
  ParameterStore store;
  const Parameter* a = store.add("a", Shape{3}, {}, true);
  store.allocate(*backend, DType::bfloat16, false);
  EXPECT_FALSE(a->grad.present());
  EXPECT_EQ(a->compute.dtype(), DType::bfloat16);
}

TEST(ParameterStore, InitialValuesDependOnSeedAndNameAlone) {
  const Init normal{.kind = Init::Kind::normal, .deviation = 0.5F};
  ParameterStore one, two;
  one.add("a", Shape{101}, normal, true);
  two.add("other", Shape{7}, {.kind = Init::Kind::ones}, false);
  two.add("a", Shape{101}, normal, true);
  const auto first = one.initial_values(3), second = two.initial_values(3), reseeded = one.initial_values(4);
  EXPECT_TRUE(std::equal(first.begin(), first.begin() + 101, second.begin() + 64));
  EXPECT_NE(first, reseeded);
  EXPECT_EQ(second[6], 1.0F);
  EXPECT_EQ(second[7], 0.0F);  // padding
}

TEST(ParameterStore, NormalInitialValuesHaveTheirDeviation) {
  ParameterStore store;
  store.add("a", Shape{100000}, {.kind = Init::Kind::normal, .deviation = 0.5F}, true);
  double sum = 0.0, squares = 0.0;
  for (const float value : store.initial_values(1)) {
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  EXPECT_NEAR(sum / 1e5, 0.0, 4 * 0.5 / std::sqrt(1e5));
  EXPECT_NEAR(std::sqrt(squares / 1e5), 0.5, 4 * 0.5 / std::sqrt(2e5));
}

TEST(ParameterStore, ANameTakenTwiceIsRefused) {
  ParameterStore store;
  store.add("a", Shape{1}, {}, true);
  EXPECT_THROW(store.add("a", Shape{1}, {}, true), InternalError);
}

}  // namespace
}  // namespace lsd::nn
