// SPDX-License-Identifier: Apache-2.0
#pragma once
// One adaptive norm site: which chunks of which modulations gate the added delta, shift and scale the output. Without
// parameters of its own.

#include "lsd/nn/layer_norm.h"

namespace lsd::nn {

struct AdaptiveNorm {
  ConstTensorView gate_modulation, modulation;  // [max_sequences, chunks * width]
  TensorView grad_gate_modulation, grad_modulation;
  int gate_chunk = 0, shift_chunk = 0, scale_chunk = 0;

  void forward(StepContext& step, const PackedLayout& layout, ConstTensorView x, ConstTensorView delta, TensorView sum,
               TensorView y, NormSaved& saved) const;
  // grad_delta is written when delta is present.
  void backward(StepContext& step, const PackedLayout& layout, ConstTensorView grad_y, const NormSaved& saved,
                ConstTensorView grad_sum, ConstTensorView delta, TensorView grad_x, TensorView grad_delta) const;
};

}  // namespace lsd::nn
