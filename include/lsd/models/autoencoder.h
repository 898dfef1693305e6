// SPDX-License-Identifier: Apache-2.0
#pragma once
// What dumps, diffusion and probes know of an autoencoder: tokens to latents and back. The trainer sees a Model.

#include "lsd/models/autoencoder_config.h"
#include "lsd/models/model.h"

namespace lsd::models {

class Autoencoder : public Model {
 public:
  virtual const AutoencoderConfig& config() const = 0;
  std::int64_t latent_width() const { return config().width; }

  // Latents [rows, latent_width()] of every row (specials too; dead rows hold finite values), in the activation type.
  // The result lies in step.arena and lives until the caller's scope ends; nothing else stays allocated. Reads the
  // batch's layout, tokens and row_scale.
  virtual TensorView encode(nn::StepContext& step, const Batch& batch) = 0;
  // Logits float32 [rows, vocabulary] of latents as encode() gives them, or of noised ones. Same memory rule.
  virtual TensorView decode(nn::StepContext& step, const Batch& batch, ConstTensorView z) = 0;
};

}  // namespace lsd::models
