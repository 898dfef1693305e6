// SPDX-License-Identifier: Apache-2.0
#pragma once
// What one training step needs in memory, found by walking it once without computing: shapes only, no device touched.
// The trainer's activation arena and scratch are sized from it, and --run.memory_plan prints it.

#include <functional>
#include <memory>
#include <string>

#include "lsd/models/model.h"
#include "lsd/train/device_batch.h"
#include "lsd/train/trainer.h"

namespace lsd::train {

struct MemoryPlan {
  std::int64_t num_parameters = 0;  // without padding
  std::size_t parameter_bytes = 0, gradient_bytes = 0, optimizer_bytes = 0;
  std::size_t batch_bytes = 0, activation_bytes = 0, scratch_bytes = 0;
  std::size_t frozen_bytes = 0;  // weights of models that do not train

  std::size_t total_bytes() const;
  std::string text() const;  // one line per part, and the sum
};

// While it lives, ops of the backend check and count but compute nothing. Left again whatever happens.
class PlanningScope {
 public:
  explicit PlanningScope(Backend& backend) : backend_(backend), before_(backend.planning()) {
    backend.set_planning(true);
  }
  ~PlanningScope() { backend_.set_planning(before_); }
  PlanningScope(const PlanningScope&) = delete;
  PlanningScope& operator=(const PlanningScope&) = delete;

 private:
  Backend& backend_;
  bool before_;
};

struct PlanRequest {
  BatchShape shape;
  DType activation = DType::float32, residual = DType::float32;
  nn::Recompute recompute = nn::Recompute::none;
  bool ema = false;
  int ranks = 1;  // that the optimizer's state is sharded over
  std::int64_t bucket_elements = BlockLayout::kDefaultBucket;
};

// `build` makes the model with memory taken from the backend (which gives none while planning).
using BuildModel = std::function<std::unique_ptr<models::Model>(Backend&)>;
MemoryPlan plan_memory(Backend& backend, const BuildModel& build, const PlanRequest& request);

}  // namespace lsd::train
