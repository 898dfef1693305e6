// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a forward or backward pass needs besides its operands. Layers and models are plain functions from views to
// views: they see no rank, file or clock. What must cross ranks passes through StepHooks, implemented in `train`.

#include <cstdint>

#include "lsd/core/philox.h"
#include "lsd/tensor/arena.h"
#include "lsd/tensor/backend.h"
#include "lsd/tensor/packed_layout.h"
#include "lsd/tensor/step_scalars.h"

namespace lsd::nn {

class StepHooks {
 public:
  virtual ~StepHooks() = default;
  // Sums a float32 tensor over all ranks, in place, ordered after the ops given so far (global moments).
  virtual void sum_over_ranks(TensorView values) = 0;
  // Elements [begin, end) of the gradient block get no more contributions in this micro-batch.
  virtual void on_gradients_final(std::int64_t begin, std::int64_t end) = 0;
};

// What a block keeps for backward; the rest is computed again there.
enum class Recompute : std::uint8_t {
  none,       // keep everything
  pointwise,  // norm and GELU outputs again (cheap: no products)
  block,      // only the block's input is kept: its whole forward again
};

struct StepContext {
  Backend& backend;
  Arena& arena;  // activations of this micro-batch
  const StepScalars& scalars;
  StepHooks* hooks = nullptr;  // nullptr: one rank, nobody asks
  std::uint32_t seed = 0;      // of all draws; validation passes a derived seed so that its draws are fixed
  DType activation = DType::float32;
  DType residual = DType::float32;  // the residual stream's type
  Recompute recompute = Recompute::none;
  // float32 [slots] of the model's metric sums, accumulated; see models::Model::metrics().
  TensorView metrics;

  RandomKey key(RandomStream stream) const { return random_key(seed, stream); }
};

}  // namespace lsd::nn
