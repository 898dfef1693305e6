// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "lsd/core/log.h"

namespace lsd::train {
std::size_t MemoryPlan::total_bytes() const {
  return parameter_bytes + gradient_bytes + optimizer_bytes + batch_bytes + activation_bytes + scratch_bytes +
         frozen_bytes;
}

std::string MemoryPlan::text() const {
  std::string out =
      fmt::format("memory of one training step, {} parameters\n", human_count(static_cast<double>(num_parameters)));
  const auto line = [&](std::string_view part, std::size_t bytes) {
    out += fmt::format("  {:<28}{:>12}\n", part, human_bytes(static_cast<double>(bytes)));
  };
  line("parameters", parameter_bytes);
  line("gradients", gradient_bytes);
  line("optimizer", optimizer_bytes);
  if (frozen_bytes > 0) line("frozen models", frozen_bytes);
  line("packed batch", batch_bytes);
  line("activations", activation_bytes);
  line("scratch", scratch_bytes);
  line("in all", total_bytes());
  return out;
}

MemoryPlan plan_memory(Backend& backend, const BuildModel& build, const PlanRequest& request) {
  const PlanningScope planning(backend);
  auto& scratch_peak = backend.op_context().scratch_peak_bytes;
  const auto scratch_before = std::exchange(scratch_peak, 0);
  const auto model = build(backend);
  auto& store = model->parameters();
  // Rank 0 keeps as much as any.
  const BlockLayout layout(store.elements(), request.ranks, 0, request.bucket_elements);
  OptimizerState optimizer(backend, store, {.ema = request.ema}, layout, nullptr);
  DeviceBatch batch(backend, request.shape);
  StepScalars scalars(TensorView(nullptr, DType::float32, Shape{StepScalars::kSlots}, backend.device()));
  Arena arena(backend.device());
  const TensorView slots(nullptr, DType::float32, Shape{model->metric_slots()}, backend.device());
  const TensorView one(nullptr, DType::float32, Shape{1}, backend.device());
  nn::StepContext step{.backend = backend,
                       .arena = arena,
                       .scalars = scalars,
                       .activation = request.activation,
                       .residual = request.residual,
                       .recompute = request.recompute,
                       .metrics = slots};
  model->forward_backward(step, batch.views(), one);
  model->evaluate(step, batch.views(), {.micro_batch_share = one});
  model->evaluate(step, batch.views(), {.fixed_time = 0.5F, .micro_batch_share = one});
  add_squared_norm(backend, store.grad_block(), layout, one);
  add_squared_norm(backend, store.grad_block(), BlockLayout(store.elements(), 1, 0), one);
  optimizer.step(scalars.all(), one);
  MemoryPlan plan;
  plan.num_parameters = store.count();
  plan.parameter_bytes = static_cast<std::size_t>(store.compute_block().bytes());
  plan.gradient_bytes = static_cast<std::size_t>(store.grad_block().bytes());
  plan.optimizer_bytes = static_cast<std::size_t>(OptimizerState::bytes(optimizer.kept_elements(), request.ema));
  plan.batch_bytes = batch.bytes();
  plan.activation_bytes = arena.peak_bytes();
  plan.scratch_bytes = backend.planned_scratch_bytes();
  scratch_peak = std::max(scratch_peak, scratch_before);
  return plan;
}

}  // namespace lsd::train
