// SPDX-License-Identifier: Apache-2.0
#pragma once
// Layer norm with the residual addition in front of it: sum = x + delta, y = norm(sum) * gain + bias.

#include <cstdint>
#include <string>

#include "lsd/nn/parameter_store.h"
#include "lsd/nn/step_context.h"

namespace lsd::nn {

inline constexpr float kNormEpsilon = 1e-5F;  // ESM-2's

// What a norm's backward reads.
struct NormSaved {
  ConstTensorView sum;       // [rows, width]
  TensorView mean, inv_std;  // float32 [rows]
};

class LayerNorm {
 public:
  LayerNorm() = default;
  LayerNorm(ParameterStore& store, const std::string& name, std::int64_t width);

  // Without delta, `sum` must be absent and saved.sum becomes x. Takes mean and inv_std from the arena unless given.
  void forward(StepContext& step, ConstTensorView x, ConstTensorView delta, TensorView sum, TensorView y,
               NormSaved& saved) const;
  // grad_x: gradient of sum, thus of x and of delta. grad_sum (may be absent): what reached sum past this norm.
  void backward(StepContext& step, ConstTensorView grad_y, const NormSaved& saved, ConstTensorView grad_sum,
                TensorView grad_x) const;

 private:
  const Parameter* gain_ = nullptr;  // [width]
  const Parameter* bias_ = nullptr;  // [width]
};

void allocate_statistics(StepContext& step, std::int64_t rows, NormSaved& saved);

}  // namespace lsd::nn
