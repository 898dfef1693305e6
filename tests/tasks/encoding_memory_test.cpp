// SPDX-License-Identifier: Apache-2.0
// What an embedding pass holds at once, by the plan of its activations.
#include <gtest/gtest.h>

#include "lsd/backends/make_backend.h"
#include "lsd/models/build_model.h"
#include "lsd/train/device_batch.h"
#include "lsd/train/memory_plan.h"

namespace lsd::tasks {
namespace {

std::size_t activation_bytes(std::int64_t layers) {
  const auto backend = backends::make_cpu_backend({.threads = 1, .plan_only = true});
  const auto model = models::build_autoencoder(
      {.variant = "nm", .width = 32, .heads = 2, .encoder_layers = layers, .decoder_layers = layers});
  model->parameters().allocate(*backend, DType::float32, false);
  train::DeviceBatch batch(*backend, {.capacity = 64, .max_sequences = 2, .max_length = 64});
  const StepScalars scalars(TensorView(nullptr, DType::float32, Shape{StepScalars::kSlots}));
  Arena arena(Device::host);
  nn::StepContext step{.backend = *backend, .arena = arena, .scalars = scalars};
  const train::PlanningScope planning(*backend);
  model->encode(step, batch.views());
  return arena.peak_bytes();
}

TEST(EncodingMemory, NoLayerLeavesActivationsForABackwardPass) {
  EXPECT_GT(activation_bytes(1), 0U);
  EXPECT_EQ(activation_bytes(2), activation_bytes(8));
}

}  // namespace
}  // namespace lsd::tasks
