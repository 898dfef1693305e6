// SPDX-License-Identifier: Apache-2.0
#pragma once
// The denoiser: input map, adaptive transformer, output map that starts at zero. See docs/maths/diffusion.md.

#include "lsd/models/denoiser.h"
#include "lsd/nn/time_embedding.h"
#include "lsd/nn/transformer_stack.h"

namespace lsd::models {

class TransformerDenoiser : public Denoiser {
 public:
  TransformerDenoiser(const DenoiserConfig& config, std::int64_t latent_width);

  const DenoiserConfig& config() const override { return config_; }
  std::int64_t latent_width() const override { return latent_width_; }
  nn::ParameterStore& parameters() override { return store_; }
  LossCount loss_count() const override { return LossCount::residues; }
  int metric_slots() const override { return kSlots; }
  std::vector<MetricSpec> metrics() const override;
  void forward_backward(nn::StepContext& step, const Batch& batch, ConstTensorView micro_batch_share) override;
  void evaluate(nn::StepContext& step, const Batch& batch, const EvaluateOptions& options) override;
  TensorView velocity(nn::StepContext& step, const PackedLayout& layout, ConstTensorView z_in,
                      ConstTensorView sequence_time) override;
  ConstTensorView sequence_losses() const override { return sequence_losses_; }

 private:
  enum Slot : int { kWeighted, kUnweighted, kSlots };
  struct Saved;
  struct Mixed {
    TensorView z_in, target;  // [rows, latent]
  };
  Mixed mix(nn::StepContext& step, const Batch& batch, ConstTensorView sequence_time) const;
  void predict(nn::StepContext& step, const PackedLayout& layout, ConstTensorView z_in, ConstTensorView sequence_time,
               TensorView prediction, Saved* saved) const;
  // Weighted and unweighted sums into the metrics; the prediction's gradient when grad is present.
  void loss(nn::StepContext& step, const Batch& batch, ConstTensorView prediction, ConstTensorView target,
            TensorView grad) const;
  void backward(nn::StepContext& step, const Batch& batch, ConstTensorView z_in, ConstTensorView grad_prediction,
                const Saved& saved) const;
  void keep_sequence_losses(Backend& backend, std::int64_t max_sequences);

  DenoiserConfig config_;
  std::int64_t latent_width_;
  nn::ParameterStore store_;
  nn::ParameterRange time_range_, input_range_, output_range_;
  nn::TimeEmbedding time_;
  nn::Linear input_;
  nn::TransformerStack stack_;
  nn::Linear output_;
  DeviceMemory sequence_loss_memory_;
  TensorView sequence_losses_;  // float32 [max_sequences]
};

}  // namespace lsd::models
