// SPDX-License-Identifier: Apache-2.0
#pragma once
// Mean and variance of latents per dimension over residues of the training split: what the diffusion model standardises
// with. They come from a dump (any kind) or a pass of the trainer, and travel in every checkpoint of a diffusion model
// as latent_moments.safetensors (float32 arrays `mean` and `variance`).

#include <string>
#include <vector>

#include "lsd/io/checkpoint.h"
#include "lsd/io/embedding_format.h"
#include "lsd/nn/step_context.h"

namespace lsd::train {

inline constexpr const char* kMomentsFile = "latent_moments.safetensors";

struct LatentMoments {
  std::vector<float> mean, variance;  // [width]

  std::int64_t width() const { return static_cast<std::int64_t>(mean.size()); }
  std::string fingerprint() const;
};

LatentMoments moments_of(const io::EmbeddingManifest& dump);
// Views into `moments`, which must outlive them: what RunIdentity::files takes under kMomentsFile.
std::vector<io::NamedArray> named_moments(const LatentMoments& moments);
// Throws DataError naming the checkpoint when it has no moments, or moments of another width.
LatentMoments read_latent_moments(const io::Checkpoint& checkpoint, std::int64_t width);

// y = (z - mean) / sqrt(variance) on the device, and back. Variances below 1e-12 count as 1e-12.
class LatentStandardiser {
 public:
  LatentStandardiser(Backend& backend, const LatentMoments& moments);
  void standardise(nn::StepContext& step, ConstTensorView z, TensorView y) const;  // [rows, width] both
  void restore(nn::StepContext& step, ConstTensorView y, TensorView z) const;

 private:
  DeviceMemory memory_;
  TensorView scale_, shift_, back_scale_, back_shift_;  // float32 [width]
};

}  // namespace lsd::train
