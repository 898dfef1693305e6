// SPDX-License-Identifier: Apache-2.0
#pragma once
// Per-residue representations of a protein (docs/maths/diffusion.md). With c = cos theta, s = sin theta, z the clean
// standardised latent and v = v_theta(z_in, t):
//   encoder    z
//   diffusion  v + s z
//   eps        c v + s z_in     (the noise, exactly, when v is exact and z_in = z_t)
//   score      -eps / s         (t > 0 only)
//   denoised   c z_in - s v     (z, exactly, when v is exact and z_in = z_t)
// z_in is z (clean), c z (scaled), or c z + s eps averaged over several draws of the representation (noised).

#include <cstdint>
#include <string>
#include <string_view>

#include "lsd/models/denoiser.h"
#include "lsd/models/noise_schedule.h"

namespace lsd::models {

enum class Representation { encoder, diffusion, eps, score, denoised };
enum class DenoiserInput { clean, scaled, noised };

Representation representation_from_name(std::string_view name);  // throws UserError
DenoiserInput denoiser_input_from_name(std::string_view name);   // throws UserError
std::string_view name_of(Representation representation);
std::string_view name_of(DenoiserInput input);

struct RepresentationSpec {
  Representation representation = Representation::encoder;
  double time = 0.0;  // the schedule's t
  DenoiserInput input = DenoiserInput::clean;
  std::int64_t draws = 1;  // of the noise, for noised
  NoiseSchedule schedule = NoiseSchedule::cosine;

  void validate() const;  // throws UserError: score at t = 0, no draws, t outside [0, 1]
};

// Computes one representation. Holds the per-sequence coefficients on the device, so that calls upload nothing.
class RepresentationMap {
 public:
  RepresentationMap(Backend& backend, const RepresentationSpec& spec, std::int64_t max_sequences);

  // [rows, latent] in z's type, in step.arena until the caller's scope ends. z: clean standardised latents in the
  // activation type. `denoiser` may be null for `encoder`. Draws noise by batch.sequence_visit (noised only).
  TensorView apply(nn::StepContext& step, Denoiser* denoiser, const Batch& batch, ConstTensorView z) const;
  // The last step alone: from z, z_in and a velocity that the caller has. Writes `out`.
  void combine(nn::StepContext& step, const Batch& batch, ConstTensorView z, ConstTensorView z_in,
               ConstTensorView velocity, TensorView out) const;
  const RepresentationSpec& spec() const { return spec_; }

 private:
  void average_over_draws(nn::StepContext& step, Denoiser& denoiser, const Batch& batch, ConstTensorView z,
                          TensorView out) const;

  RepresentationSpec spec_;
  std::int64_t max_sequences_ = 0;
  DeviceMemory memory_;
  // float32 views into memory_: [max_sequences] times, [max_sequences, 2] pairs of coefficients.
  TensorView times_, combination_, scaling_, average_;
};

}  // namespace lsd::models
