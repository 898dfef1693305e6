// SPDX-License-Identifier: Apache-2.0
#pragma once
// The MLM baseline: ESM-2's encoder and head (dense -> GELU(erf) -> layer norm -> embedding table, plus bias). Its
// latent is the encoder's output.

#include "lsd/models/autoencoder.h"
#include "token_encoder_internal.h"

namespace lsd::models {

class MaskedLanguageModel : public Autoencoder {
 public:
  explicit MaskedLanguageModel(const AutoencoderConfig& config);

  const AutoencoderConfig& config() const override { return config_; }
  nn::ParameterStore& parameters() override { return store_; }
  LossCount loss_count() const override { return LossCount::targets; }
  int metric_slots() const override { return kSlots; }
  std::vector<MetricSpec> metrics() const override;
  void forward_backward(nn::StepContext& step, const Batch& batch, ConstTensorView micro_batch_share) override;
  // A fixed time adds nothing here: this model has no noise.
  void evaluate(nn::StepContext& step, const Batch& batch, const EvaluateOptions& options) override;
  TensorView encode(nn::StepContext& step, const Batch& batch) override;
  TensorView decode(nn::StepContext& step, const Batch& batch, ConstTensorView z) override;

 private:
  enum Slot : int { kWeighted, kUnweighted, kCorrect, kSlots };
  struct HeadSaved {
    TensorView pre, hidden, normed;  // [rows, width]
    nn::NormSaved norm;
  };
  void head_forward(nn::StepContext& step, ConstTensorView encoded, TensorView logits, HeadSaved& saved) const;
  void head_backward(nn::StepContext& step, ConstTensorView encoded, ConstTensorView grad_logits,
                     const HeadSaved& saved, TensorView grad_encoded) const;
  void loss(nn::StepContext& step, const Batch& batch, TensorView logits, bool with_gradient) const;

  AutoencoderConfig config_;
  nn::ParameterStore store_;
  TokenEncoder encoder_;
  nn::ParameterRange head_range_;
  nn::Linear dense_;
  nn::LayerNorm norm_;
  nn::Linear decoder_;  // weight tied to the embedding
};

}  // namespace lsd::models
