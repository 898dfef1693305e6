// SPDX-License-Identifier: Apache-2.0
#include "lsd/nn/embedding.h"

#include "lsd/nn/linear.h"

namespace lsd::nn {

Embedding::Embedding(ParameterStore& store, const std::string& name, std::int64_t vocabulary, std::int64_t width)
    : table_(store.add(name + ".weight", Shape{vocabulary, width},
                       {.kind = Init::Kind::normal, .deviation = small_init(width)}, false)) {}

void Embedding::forward(StepContext& step, ConstTensorView tokens, ConstTensorView row_scale, TensorView y) const {
  step.backend.pointwise().run(
      EmbeddingForward{.tokens = tokens, .table = table_->compute, .row_scale = row_scale, .y = y});
}

void Embedding::backward(StepContext& step, ConstTensorView tokens, ConstTensorView row_scale,
                         ConstTensorView grad_y) const {
  step.backend.pointwise().run(
      EmbeddingBackward{.tokens = tokens, .grad_y = grad_y, .row_scale = row_scale, .grad_table = table_->grad});
}

}  // namespace lsd::nn
