// SPDX-License-Identifier: Apache-2.0
#include "lsd/nn/adaptive_norm.h"

namespace lsd::nn {

void AdaptiveNorm::forward(StepContext& step, const PackedLayout& layout, ConstTensorView x, ConstTensorView delta,
                           TensorView sum, TensorView y, NormSaved& saved) const {
  allocate_statistics(step, x.shape().rows(), saved);
  saved.sum = delta.present() ? ConstTensorView(sum) : x;
  step.backend.norm().run(AdaptiveNormForward{.x = x,
                                              .delta = delta,
                                              .gate_modulation = delta.present() ? gate_modulation : ConstTensorView(),
                                              .modulation = modulation,
                                              .row_sequence = layout.row_sequence,
                                              .sum = delta.present() ? sum : TensorView(),
                                              .y = y,
                                              .mean = saved.mean,
                                              .inv_std = saved.inv_std,
                                              .gate_chunk = gate_chunk,
                                              .shift_chunk = shift_chunk,
                                              .scale_chunk = scale_chunk,
                                              .epsilon = kNormEpsilon});
}

void AdaptiveNorm::backward(StepContext& step, const PackedLayout& layout, ConstTensorView grad_y,
                            const NormSaved& saved, ConstTensorView grad_sum, ConstTensorView delta, TensorView grad_x,
                            TensorView grad_delta) const {
  const bool gated = delta.present();
  step.backend.norm().run(AdaptiveNormBackward{.grad_y = grad_y,
                                               .sum = saved.sum,
                                               .mean = saved.mean,
                                               .inv_std = saved.inv_std,
                                               .grad_sum = grad_sum,
                                               .delta = delta,
                                               .gate_modulation = gated ? gate_modulation : ConstTensorView(),
                                               .modulation = modulation,
                                               .row_sequence = layout.row_sequence,
                                               .offsets = layout.offsets,
                                               .grad_x = grad_x,
                                               .grad_delta = gated ? grad_delta : TensorView(),
                                               .grad_modulation = grad_modulation,
                                               .grad_gate_modulation = gated ? grad_gate_modulation : TensorView(),
                                               .gate_chunk = gate_chunk,
                                               .shift_chunk = shift_chunk,
                                               .scale_chunk = scale_chunk});
}

}  // namespace lsd::nn
