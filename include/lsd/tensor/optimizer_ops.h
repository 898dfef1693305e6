// SPDX-License-Identifier: Apache-2.0
#pragma once
// Optimizer steps over flat float32 ranges. Every parameter starts at a multiple of 64 elements, so per-parameter facts
// are one byte per block of 64. What changes per step is read from device memory (see step_scalars.h).

#include "lsd/tensor/op_family.h"
#include "lsd/tensor/view.h"

namespace lsd {

// sum += sum x^2, in a fixed order.
struct SquaredNorm {
  ConstTensorView x;  // float32 [n]
  TensorView sum;     // float32 [1]
};

// Loshchilov & Hutter, "Decoupled weight decay regularization", 2019, with clipping by the global norm. With
//   g = grad * gradient_scale * min(1, clip / (gradient_scale * sqrt(squared_norm)))   (clip <= 0: no clipping)
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   master -= lr * (m / bias1 / (sqrt(v / bias2) + epsilon) + decay * master)
//   ema += (1 - ema_decay) (master - ema)
// and compute = master, rounded. Does nothing when skip != 0 or when squared_norm is not finite.
struct AdamW {
  ConstTensorView grad;                            // float32 [n]
  ConstTensorView decay_blocks;                    // uint8 [n / 64]: 1 where weight decay applies
  ConstTensorView scalars;                         // float32 [StepScalars::kSlots]
  ConstTensorView squared_norm;                    // float32 [1]: of the whole unscaled gradient, over all ranks
  TensorView master, first_moment, second_moment;  // float32 [n]
  TensorView ema;                                  // float32 [n] or absent
  TensorView compute;                              // activation type [n]
  float beta1 = 0.9F, beta2 = 0.98F, epsilon = 1e-8F, weight_decay = 0.01F;
};

class OptimizerOps : public OpFamily {
 public:
  using OpFamily::OpFamily;
  void run(const SquaredNorm& op);
  void run(const AdamW& op);

 private:
  virtual void launch(const SquaredNorm& op) = 0;
  virtual void launch(const AdamW& op) = 0;
  virtual std::size_t scratch_bytes(const SquaredNorm&) const { return 0; }
  virtual std::size_t scratch_bytes(const AdamW&) const { return 0; }
};

}  // namespace lsd
