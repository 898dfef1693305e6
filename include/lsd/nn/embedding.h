// SPDX-License-Identifier: Apache-2.0
#pragma once
// Token embedding into the residual stream.

#include <cstdint>
#include <string>

#include "lsd/nn/parameter_store.h"
#include "lsd/nn/step_context.h"

namespace lsd::nn {

class Embedding {
 public:
  Embedding() = default;
  Embedding(ParameterStore& store, const std::string& name, std::int64_t vocabulary, std::int64_t width);

  // row_scale may be absent; y [rows, width] in the residual stream's type.
  void forward(StepContext& step, ConstTensorView tokens, ConstTensorView row_scale, TensorView y) const;
  void backward(StepContext& step, ConstTensorView tokens, ConstTensorView row_scale, ConstTensorView grad_y) const;
  const Parameter* table() const { return table_; }  // [vocabulary, width]

 private:
  const Parameter* table_ = nullptr;
};

}  // namespace lsd::nn
