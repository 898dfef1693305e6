// SPDX-License-Identifier: Apache-2.0
#pragma once
// AdamW over a model's flat parameter block: float32 masters, both moments and, when asked, the moving average. Either
// every rank keeps them for the whole block, or (ZeRO-1) each for its slices: it then updates these, and the ranks
// exchange the compute values. An element's update is the same arithmetic either way. Steps read what changes from
// StepScalars; nothing here waits for the device.
//
// Masters, moments and average are local blocks: the kept slices, one after the other. Whole blocks in host memory have
// the store's offsets.

#include <cstdint>
#include <span>
#include <vector>

#include "lsd/dist/tensor_collectives.h"
#include "lsd/nn/parameter_store.h"
#include "lsd/tensor/step_scalars.h"
#include "lsd/train/block_layout.h"

namespace lsd::train {

struct AdamWOptions {
  double beta1 = 0.9, beta2 = 0.98, epsilon = 1e-8, weight_decay = 0.01;
  bool ema = false;
};

class OptimizerState {
 public:
  // The whole block.
  OptimizerState(Backend& backend, nn::ParameterStore& store, const AdamWOptions& options);
  // This rank's slices of it. `collectives` may be null while planning.
  OptimizerState(Backend& backend, nn::ParameterStore& store, const AdamWOptions& options, const BlockLayout& layout,
                 dist::TensorCollectives* collectives);

  bool sharded() const { return sharded_; }
  const BlockLayout& layout() const { return layout_; }
  const std::vector<BlockSlice>& kept() const { return kept_; }
  std::int64_t kept_elements() const { return masters_.elements(); }

  // Masters (and the average) from float32 values of the whole block, moments 0, compute values rounded from them.
  // This and the next two are collective when sharded.
  void initialise(std::span<const float> values);
  // One step over what is kept; reads StepScalars and the squared norm of the whole unscaled gradient over all ranks.
  void step(ConstTensorView scalars, ConstTensorView squared_norm);
  // Compute values from the masters, or from the moving average (validation and dumps of diffusion models).
  void load_compute_from(ConstTensorView local);

  // A local block from a whole one. Waits for the device.
  void load(TensorView local, std::span<const float> whole);
  // The whole block that a local block is part of, on rank 0 of `ranks`; elsewhere `whole` is left as it is. Collective
  // when sharded. Waits for the device.
  void gather(dist::HostCommunicator& ranks, ConstTensorView local, std::vector<float>& whole) const;

  TensorView masters() const { return masters_; }
  TensorView first_moments() const { return first_; }
  TensorView second_moments() const { return second_; }
  TensorView ema() const { return ema_; }  // absent without a moving average
  const AdamWOptions& options() const { return options_; }
  static std::int64_t bytes(std::int64_t elements, bool ema) { return elements * 4 * (ema ? 4 : 3) + elements / 64; }

 private:
  OptimizerState(Backend& backend, nn::ParameterStore& store, const AdamWOptions& options, const BlockLayout& layout,
                 bool sharded, dist::TensorCollectives* collectives);
  void load_decay_blocks();
  void step_slice(BlockSlice slice, std::int64_t at, ConstTensorView scalars, ConstTensorView squared_norm);
  // Starts the exchange of a bucket's compute values; all of them are there for ops behind finish_exchange().
  void exchange_compute(std::size_t bucket);
  void finish_exchange();

  Backend& backend_;
  nn::ParameterStore& store_;
  AdamWOptions options_;
  BlockLayout layout_;
  bool sharded_;
  dist::TensorCollectives* collectives_;
  std::vector<BlockSlice> kept_;
  DeviceMemory memory_;
  TensorView masters_, first_, second_, ema_, decay_blocks_;
  std::vector<dist::TensorCollectives::Ticket> tickets_;
};

// sum += the squared norm of this rank's share of the gradient block (BlockLayout::counted_by).
void add_squared_norm(Backend& backend, ConstTensorView gradients, const BlockLayout& layout, TensorView sum);

}  // namespace lsd::train
