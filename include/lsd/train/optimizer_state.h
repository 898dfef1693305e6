// SPDX-License-Identifier: Apache-2.0
#pragma once
// AdamW over a model's flat parameter block: float32 masters, both moments and, when asked, the moving average, with
// the store's offsets. One object owns one contiguous slice of the block; a single slice over everything is the plain
// case, one slice per rank is ZeRO-1. Steps read what changes from StepScalars; nothing here waits for the device.

#include <cstdint>
#include <span>
#include <vector>

#include "lsd/nn/parameter_store.h"
#include "lsd/tensor/step_scalars.h"

namespace lsd::train {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.98, epsilon = 1e-8, weight_decay = 0.01;
  bool ema = false;
};

// Elements [begin, begin + count) of the block, both multiples of ParameterStore::kAlignment.
struct BlockSlice {
  std::int64_t begin = 0, count = 0;
};

class OptimizerState {
 public:
  OptimizerState(Backend& backend, nn::ParameterStore& store, const AdamWOptions& options, BlockSlice slice);
  OptimizerState(Backend& backend, nn::ParameterStore& store, const AdamWOptions& options)
      : OptimizerState(backend, store, options, {0, store.elements()}) {}

  // Masters (and the average) from float32 values of the whole block, moments 0, compute values rounded from them.
  void initialise(std::span<const float> values);
  // Adds the slice's squared gradient norm to `sum`.
  void add_squared_norm(TensorView sum);
  void step(ConstTensorView scalars, ConstTensorView squared_norm);

  // Compute values from the masters, or from the moving average (validation and dumps of diffusion models).
  void load_compute_from(ConstTensorView values);

  TensorView masters() const { return masters_; }
  TensorView first_moments() const { return first_; }
  TensorView second_moments() const { return second_; }
  TensorView ema() const { return ema_; }  // absent without a moving average
  BlockSlice slice() const { return slice_; }
  const AdamWOptions& options() const { return options_; }
  static std::int64_t bytes(std::int64_t elements, bool ema) { return elements * 4 * (ema ? 4 : 3) + elements / 64; }

 private:
  Backend& backend_;
  nn::ParameterStore& store_;
  AdamWOptions options_;
  BlockSlice slice_;
  DeviceMemory memory_;
  TensorView masters_, first_, second_, ema_, decay_blocks_;
};

}  // namespace lsd::train
