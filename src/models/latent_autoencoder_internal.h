// SPDX-License-Identifier: Apache-2.0
#pragma once
// LSD-NM and LSD-TN: encoder, linear map to latents, (noise,) decoder, head. See docs/maths/autoencoder.md.

#include "lsd/models/autoencoder.h"
#include "normalisation_loss_internal.h"
#include "token_encoder_internal.h"

namespace lsd::models {

class LatentAutoencoder : public Autoencoder {
 public:
  explicit LatentAutoencoder(const AutoencoderConfig& config);

  const AutoencoderConfig& config() const override { return config_; }
  nn::ParameterStore& parameters() override { return store_; }
  LossCount loss_count() const override { return LossCount::residues; }
  int metric_slots() const override { return kSlots; }
  std::vector<MetricSpec> metrics() const override;
  void forward_backward(nn::StepContext& step, const Batch& batch, ConstTensorView micro_batch_share) override;
  void evaluate(nn::StepContext& step, const Batch& batch, const EvaluateOptions& options) override;
  TensorView encode(nn::StepContext& step, const Batch& batch) override;
  TensorView decode(nn::StepContext& step, const Batch& batch, ConstTensorView z) override;

 private:
  enum Slot : int { kWeighted, kUnweighted, kCorrect, kNorm, kSlots };
  struct Saved;

  void map_to_latents(nn::StepContext& step, const Batch& batch, Saved& saved) const;
  // Mixes noise into z where the variant (or a fixed time) asks for it; gives z itself otherwise.
  ConstTensorView noised(nn::StepContext& step, const Batch& batch, ConstTensorView z, ConstTensorView row_time) const;
  ConstTensorView draw_row_time(nn::StepContext& step, const Batch& batch, const EvaluateOptions& options) const;
  TensorView logits_of(nn::StepContext& step, const Batch& batch, ConstTensorView z_in, Saved* saved) const;
  void reconstruction_loss(nn::StepContext& step, const Batch& batch, ConstTensorView row_time, TensorView logits,
                           bool with_gradient) const;
  // From the gradient of the logits to that of the decoder's input.
  void decoder_backward(nn::StepContext& step, const Batch& batch, const Saved& saved, TensorView grad_input) const;
  TensorView metric(nn::StepContext& step, Slot slot) const { return step.metrics.slice(slot, 1); }

  AutoencoderConfig config_;
  nn::ParameterStore store_;
  TokenEncoder encoder_;
  nn::ParameterRange latent_range_, head_range_;
  nn::Linear latent_;
  nn::TransformerStack decoder_;
  nn::Linear head_;
  NormalisationLoss normalisation_;
};

}  // namespace lsd::models
