// SPDX-License-Identifier: Apache-2.0
#pragma once
// Token embedding and transformer: the encoder that all autoencoders share. Its output is ESM-2's last hidden state.

#include "lsd/models/autoencoder_config.h"
#include "lsd/models/batch.h"
#include "lsd/nn/embedding.h"
#include "lsd/nn/transformer_stack.h"

namespace lsd::models {

inline constexpr std::int64_t kVocabulary = 33;  // ESM-2's alphabet

nn::StackShape encoder_shape(const AutoencoderConfig& config);
nn::StackShape decoder_shape(const AutoencoderConfig& config);

class TokenEncoder {
 public:
  TokenEncoder(nn::ParameterStore& store, const AutoencoderConfig& config);

  // y [rows, width] in the activation type. Without `saved` nothing stays in the arena.
  void forward(nn::StepContext& step, const Batch& batch, TensorView y, nn::TransformerStack::Saved* saved) const;
  // Reports the blocks' gradients as final, but not the embedding's: a tied head may add to it.
  void backward(nn::StepContext& step, const Batch& batch, ConstTensorView grad_y,
                const nn::TransformerStack::Saved& saved) const;

  const nn::Parameter* table() const { return embedding_.table(); }
  nn::ParameterRange embedding_range() const { return embedding_range_; }

 private:
  std::int64_t width_;
  nn::ParameterRange embedding_range_;
  nn::Embedding embedding_;
  nn::TransformerStack stack_;
};

}  // namespace lsd::models
