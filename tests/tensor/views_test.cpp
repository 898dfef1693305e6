// SPDX-License-Identifier: Apache-2.0
// Shapes, views, the arena, step scalars and scratch.
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "lsd/backends/make_backend.h"
#include "lsd/core/error.h"
#include "lsd/tensor/arena.h"
#include "lsd/tensor/step_scalars.h"

namespace lsd {
namespace {

TEST(Shape, CountsElementsRowsAndColumns) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.elements(), 24);
  EXPECT_EQ(shape.rows(), 6);
  EXPECT_EQ(shape.columns(), 4);
  EXPECT_EQ(shape.text(), "[2, 3, 4]");
  EXPECT_EQ(Shape{}.elements(), 0);
  EXPECT_THROW((Shape{1, 2, 3, 4, 5}), InternalError);
  EXPECT_THROW((Shape{-1}), InternalError);
}

TEST(View, CutsRowsAndSlicesInPlace) {
  std::vector<float> data(12);
  std::iota(data.begin(), data.end(), 0.0F);
  const TensorView view(data.data(), DType::float32, {4, 3});
  EXPECT_EQ(view.row_range(1, 2).data<float>()[0], 3.0F);
  EXPECT_EQ(view.row_range(1, 2).shape(), (Shape{2, 3}));
  EXPECT_EQ(view.slice(5, 1).data<float>()[0], 5.0F);
  EXPECT_EQ(view.reshaped({3, 4}).shape(), (Shape{3, 4}));
  EXPECT_THROW((void)view.row_range(3, 2), InternalError);
  EXPECT_THROW((void)view.slice(-1, 1), InternalError);
  EXPECT_THROW((void)view.reshaped({5}), InternalError);
  EXPECT_THROW((void)view.data<BFloat16>(), InternalError);
  EXPECT_FALSE(TensorView{}.present());
}

TEST(Arena, GivesAlignedMemoryInOrderAndTakesItBack) {
  const auto backend = backends::make_reference_backend();
  Arena arena(backend->allocate(4096), Device::host);
  const auto first = arena.allocate(DType::uint8, {1});
  const auto mark = arena.mark();
  const auto second = arena.allocate(DType::float32, {65});
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first.raw()) % 256, 0U);
  EXPECT_EQ(static_cast<std::byte*>(second.raw()) - static_cast<std::byte*>(first.raw()), 256);
  EXPECT_EQ(arena.mark(), 768U);
  arena.release(mark);
  EXPECT_EQ(arena.allocate(DType::float32, {1}).raw(), second.raw());
  EXPECT_EQ(arena.peak_bytes(), 768U);
  EXPECT_THROW(arena.allocate(DType::uint8, {4000}), SystemError);
}

TEST(Arena, PlansThePeakWithoutMemory) {
  Arena arena(Device::host);
  {
    const ArenaScope scope(arena);
    EXPECT_EQ(arena.allocate(DType::bfloat16, {1 << 30, 100}).raw(), nullptr);
  }
  EXPECT_EQ(arena.mark(), 0U);
  EXPECT_EQ(arena.peak_bytes(), 200ULL << 30U);
}

TEST(StepScalars, ReachTheDeviceWhenUploaded) {
  const auto backend = backends::make_reference_backend();
  const auto memory = backend->allocate(StepScalars::kSlots * sizeof(float));
  StepScalars scalars(TensorView(memory.data(), DType::float32, {StepScalars::kSlots}));
  scalars.set(StepScalars::clip_norm, 2.5F);
  scalars.upload(*backend);
  EXPECT_EQ(scalars.at(StepScalars::clip_norm).data<float>()[0], 2.5F);
  EXPECT_EQ(scalars.get(StepScalars::clip_norm), 2.5F);
  EXPECT_EQ(scalars.all().data<float>()[StepScalars::skip], 0.0F);
}

TEST(Scratch, GrowsOnceAndRefusesMoreThanItHas) {
  const auto backend = backends::make_reference_backend();
  backend->reserve_scratch(1000);
  auto& context = backend->op_context();
  void* before = context.scratch;
  EXPECT_EQ(context.scratch_for("SomeOp", 1000), before);
  EXPECT_THROW((void)context.scratch_for("SomeOp", 1001), InternalError);
  backend->reserve_scratch(10);
  EXPECT_EQ(context.scratch, before);
}

TEST(Backend, RefusesMoreMemoryThanTheMachineHas) {
  const auto backend = backends::make_reference_backend();
  EXPECT_THROW(backend->allocate(1ULL << 60U), SystemError);
}

TEST(Backend, CopiesBetweenViews) {
  const auto backend = backends::make_reference_backend();
  std::vector<float> from{1, 2, 3}, to(3), back(3);
  const TensorView from_view(from.data(), DType::float32, {3}), to_view(to.data(), DType::float32, {3});
  backend->copy_on_device(to_view, from_view);
  backend->copy_to_host(back.data(), to_view);
  EXPECT_EQ(back, from);
  EXPECT_THROW(backend->copy_on_device(to_view.slice(0, 2), from_view), InternalError);
}

}  // namespace
}  // namespace lsd
