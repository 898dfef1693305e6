// SPDX-License-Identifier: Apache-2.0
#pragma once
// What changes from step to step, as one small float32 tensor in device memory that ops on every backend read.
// Nothing of this is ever a host argument of an op: a captured graph would freeze it.

#include <array>

#include "lsd/tensor/view.h"

namespace lsd {

class Backend;

class StepScalars {
 public:
  enum Slot : int {
    learning_rate,
    bias_correction1,  // 1 - beta1^n, n the number of optimizer steps including this one
    bias_correction2,  // 1 - beta2^n
    gradient_scale,    // multiplies the summed gradients before clipping (MLM: 1 / masked count)
    clip_norm,         // global gradient norm limit; <= 0: none
    ema_decay,
    skip,        // != 0: the optimizer leaves everything as it is
    loss_scale,  // 1 / N of the global batch (NM, TN, diffusion) or 1 (MLM)
    kSlots = 16,
  };

  // `device` is float32 [kSlots] on the backend's device.
  explicit StepScalars(TensorView device) : device_(device) {}

  void set(Slot slot, float value) { host_[static_cast<std::size_t>(slot)] = value; }
  float get(Slot slot) const { return host_[static_cast<std::size_t>(slot)]; }
  void upload(Backend& backend);  // ordered before the ops launched afterwards
  ConstTensorView all() const { return device_; }
  ConstTensorView at(Slot slot) const;  // float32 [1]

 private:
  TensorView device_;
  std::array<float, kSlots> host_{};
};

}  // namespace lsd
