// SPDX-License-Identifier: Apache-2.0
#include "lsd/nn/layer_norm.h"

namespace lsd::nn {

LayerNorm::LayerNorm(ParameterStore& store, const std::string& name, std::int64_t width)
    : gain_(store.add(name + ".gain", Shape{width}, {.kind = Init::Kind::ones}, false)),
      bias_(store.add(name + ".bias", Shape{width}, {}, false)) {}

void LayerNorm::forward(StepContext& step, ConstTensorView x, ConstTensorView delta, TensorView sum, TensorView y,
                        NormSaved& saved) const {
  allocate_statistics(step, x.shape().rows(), saved);
  saved.sum = delta.present() ? ConstTensorView(sum) : x;
  step.backend.norm().run(NormForward{.x = x,
                                      .delta = delta,
                                      .gain = gain_->compute,
                                      .bias = bias_->compute,
                                      .sum = delta.present() ? sum : TensorView(),
                                      .y = y,
                                      .mean = saved.mean,
                                      .inv_std = saved.inv_std,
                                      .epsilon = kNormEpsilon});
}

void LayerNorm::backward(StepContext& step, ConstTensorView grad_y, const NormSaved& saved, ConstTensorView grad_sum,
                         TensorView grad_x) const {
  step.backend.norm().run(NormBackward{.grad_y = grad_y,
                                       .sum = saved.sum,
                                       .gain = gain_->compute,
                                       .mean = saved.mean,
                                       .inv_std = saved.inv_std,
                                       .grad_sum = grad_sum,
                                       .grad_x = grad_x,
                                       .grad_gain = gain_->grad,
                                       .grad_bias = bias_->grad});
}

void allocate_statistics(StepContext& step, std::int64_t rows, NormSaved& saved) {
  if (saved.mean.present()) return;
  saved.mean = step.arena.allocate(DType::float32, Shape{rows});
  saved.inv_std = step.arena.allocate(DType::float32, Shape{rows});
}

}  // namespace lsd::nn
