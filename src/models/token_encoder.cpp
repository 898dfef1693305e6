// SPDX-License-Identifier: Apache-2.0
#include "token_encoder_internal.h"

#include "parameter_range_internal.h"

namespace lsd::models {

nn::StackShape encoder_shape(const AutoencoderConfig& config) {
  return {.width = config.width,
          .heads = config.heads,
          .layers = config.encoder_layers,
          .gelu = config.gelu_kind(),
          .rotary = {.float16 = config.float16_rotary}};
}

nn::StackShape decoder_shape(const AutoencoderConfig& config) {
  return {.width = config.width, .heads = config.heads, .layers = config.decoder_layers, .gelu = config.gelu_kind()};
}

TokenEncoder::TokenEncoder(nn::ParameterStore& store, const AutoencoderConfig& config)
    : width_(config.width),
      embedding_(ranged(store, embedding_range_,
                        [&] { return nn::Embedding(store, "encoder.embedding", kVocabulary, config.width); })),
      stack_(store, "encoder", encoder_shape(config)) {}

void TokenEncoder::forward(nn::StepContext& step, const Batch& batch, TensorView y,
                           nn::TransformerStack::Saved* saved) const {
  const auto before = step.arena.mark();
  TensorView stream = step.arena.allocate(step.residual, Shape{batch.layout.rows(), width_});
  embedding_.forward(step, batch.tokens, batch.row_scale, stream);
  stack_.forward(step, batch.layout, {}, stream, y, saved);
  if (!saved) step.arena.release(before);
}

void TokenEncoder::backward(nn::StepContext& step, const Batch& batch, ConstTensorView grad_y,
                            const nn::TransformerStack::Saved& saved) const {
  const ArenaScope scope(step.arena);
  TensorView grad_stream = step.arena.allocate(step.residual, Shape{batch.layout.rows(), width_});
  stack_.backward(step, batch.layout, {}, grad_y, saved, grad_stream, {});
  embedding_.backward(step, batch.tokens, batch.row_scale, grad_stream);
}

}  // namespace lsd::models
