// SPDX-License-Identifier: Apache-2.0
#pragma once
// Trained models with fixed weights, as later stages use them: the encoder of an autoencoder's checkpoint, and any
// representation of a diffusion model on top of it. No gradients, no optimizer.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "lsd/models/build_model.h"
#include "lsd/models/representations.h"
#include "lsd/train/device_batch.h"
#include "lsd/train/latent_moments.h"

namespace lsd::io {
struct Checkpoint;
}

namespace lsd::train {

// Key of a checkpoint's config that imported models may have: "float16" where the encoder's are rounded, else absent.
inline constexpr const char* kRotaryFrequencies = "encoder.rotary_frequencies";

// What dumps and diffusion runs know an autoencoder by: the checksum of its checkpoint's weights. Throws UserError for
// another model's checkpoint.
std::string encoder_fingerprint(const io::Checkpoint& checkpoint);

// The encoder of a run directory, a folder of checkpoints or one checkpoint.
class FrozenEncoder {
 public:
  FrozenEncoder(Backend& backend, const std::filesystem::path& checkpoint, DType activation = DType::float32);

  models::Autoencoder& model() const { return *model_; }
  std::int64_t width() const { return model_->latent_width(); }
  bool token_dropout() const { return token_dropout_; }  // its embeddings are scaled even without masks
  DType activation() const { return activation_; }
  DType residual() const { return residual_; }
  const std::string& fingerprint() const { return fingerprint_; }  // encoder_fingerprint
  std::size_t bytes() const;                                       // of the weights on the device

 private:
  std::unique_ptr<models::Autoencoder> model_;
  DType activation_;
  DType residual_ = DType::float32;  // the residual stream's type in training; float32 with activations of float32
  bool token_dropout_ = false;
  std::string fingerprint_;
};

// A diffusion model with its moving-average weights and the moments it standardises with.
class FrozenDenoiser {
 public:
  FrozenDenoiser(Backend& backend, const std::filesystem::path& checkpoint, const FrozenEncoder& encoder);

  models::Denoiser& model() const { return *model_; }
  models::NoiseSchedule schedule() const { return schedule_; }
  const LatentStandardiser& standardiser() const { return *standardiser_; }
  const std::string& fingerprint() const { return fingerprint_; }  // of weights, options and moments

 private:
  std::unique_ptr<models::Denoiser> model_;
  std::optional<LatentStandardiser> standardiser_;
  models::NoiseSchedule schedule_ = models::NoiseSchedule::cosine;
  std::string fingerprint_;
};

// Tokens to per-row features: uploads a packed batch, encodes, standardises and maps where the representation asks for
// it. Memory is planned at construction for one batch shape; nothing is allocated afterwards.
class LatentRunner {
 public:
  // `denoiser` may be null for the encoder representation. `spec.schedule` is taken from the denoiser.
  LatentRunner(Backend& backend, const FrozenEncoder& encoder, const FrozenDenoiser* denoiser,
               models::RepresentationSpec spec, const BatchShape& shape, std::uint32_t noise_seed = 0);
  ~LatentRunner();

  // Features [capacity, width] in the activation type, on the device until the next run: raw latents for `encoder`,
  // mapped back for `denoised`, else on the standardised scale.
  ConstTensorView run(const data::HostBatch& batch);
  const models::Batch& batch() const;  // of the last run, on the device
  std::size_t memory_bytes() const;    // activations and scratch

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lsd::train
