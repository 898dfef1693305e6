// SPDX-License-Identifier: Apache-2.0
#pragma once
// The diffusion model on frozen, standardised latents: a transformer conditioned on time through adaptive norms,
// trained on the v-target (docs/maths/diffusion.md).
//
// Times are effective times everywhere in this interface: theta = pi t / 2 is the angle of the mix
// z_t = cos(theta) z + sin(theta) eps. A noise schedule maps the user's t to it (noise_schedule.h); whoever fills
// Batch::sequence_time applies that map.

#include <cstdint>
#include <string>

#include "lsd/core/config_field.h"
#include "lsd/models/model.h"

namespace lsd::models {

struct DenoiserConfig {
  std::int64_t width = 512, heads = 8, layers = 12;
  std::int64_t time_features = 256;
  std::string gelu = "tanh";
  std::string schedule = "cosine";

  static void visit(auto& self, auto&& field) {
    field("width", self.width, {.help = "width of the denoiser", .min = 8, .max = 16384});
    field("heads", self.heads,
          {.help = "attention heads; width / heads must be a multiple of 8", .min = 1, .max = 256});
    field("layers", self.layers, {.help = "transformer blocks", .min = 1, .max = 256});
    field("time_features", self.time_features, {.help = "sinusoidal features of the time", .min = 8, .max = 4096});
    field("gelu", self.gelu, {.help = "form of GELU", .choices = "erf|tanh"});
    field("schedule", self.schedule,
          {.help = "noise schedule: cosine, the linear-beta process of DDPM, or a sigmoid in log-SNR",
           .choices = "cosine|linear_beta|sigmoid"});
  }
  void validate() const;  // throws UserError
};

class Denoiser : public Model {
 public:
  virtual const DenoiserConfig& config() const = 0;
  virtual std::int64_t latent_width() const = 0;

  // v_theta(z_in, t): [rows, latent_width()] in the activation type, in step.arena until the caller's scope ends;
  // nothing else stays allocated. z_in [rows, latent_width()] in the activation type; sequence_time float32
  // [max_sequences].
  virtual TensorView velocity(nn::StepContext& step, const PackedLayout& layout, ConstTensorView z_in,
                              ConstTensorView sequence_time) = 0;
};

}  // namespace lsd::models
