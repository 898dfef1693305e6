// SPDX-License-Identifier: Apache-2.0
#pragma once
// Options of an autoencoder (docs/maths/autoencoder.md). LSD-NM and LSD-TN have encoder, latent map and decoder; the
// MLM baseline is an encoder with ESM-2's tied head, whose latent is the encoder's output.

#include <cstdint>
#include <string>

#include "lsd/core/config_field.h"
#include "lsd/tensor/matrix_ops.h"

namespace lsd::models {

struct AutoencoderConfig {
  std::string variant = "nm";
  std::int64_t width = 512, heads = 8;
  std::int64_t encoder_layers = 6, decoder_layers = 6;
  std::string gelu = "tanh";
  double lambda = 1.0;
  std::string norm = "univariate";
  std::string moments = "micro_batch";
  std::int64_t min_count = 32;
  double shrinkage = 1e-3;
  double variance_floor = 1e-6;
  // Not an option: the encoder's rotary frequencies are rounded to float16, as an imported ESM-2's may be
  // (docs/esm2.md).
  bool float16_rotary = false;

  static void visit(auto& self, auto&& field) {
    field("variant", self.variant,
          {.help = "nm: noise-masked, tn: type-normalised, mlm: masked-language baseline", .choices = "nm|tn|mlm"});
    field("width", self.width, {.help = "width of encoder, latents and decoder", .min = 8, .max = 16384});
    field("heads", self.heads,
          {.help = "attention heads; width / heads must be a multiple of 8", .min = 1, .max = 256});
    field("encoder_layers", self.encoder_layers, {.help = "transformer blocks of the encoder", .min = 1, .max = 256});
    field("decoder_layers", self.decoder_layers,
          {.help = "transformer blocks of the decoder (nm, tn)", .min = 1, .max = 256});
    field("gelu", self.gelu,
          {.help = "form of GELU; erf for ESM-2 weights, tanh is what GPU products fuse", .choices = "erf|tanh"});
    field("lambda", self.lambda, {.help = "weight of the normalisation loss (nm, tn)", .min = 0, .max = 1e4});
    field("norm", self.norm,
          {.help = "normalisation loss: KL per dimension, or of the whole covariance",
           .choices = "univariate|multivariate"});
    field("moments", self.moments,
          {.help = "moments of one packed micro-batch, or summed over ranks (one micro-batch per rank and step)",
           .choices = "micro_batch|global"});
    field("min_count", self.min_count,
          {.help = "a residue type enters the tn loss from this many residues on",
           .unit = "residues",
           .min = 2,
           .max = 1e9});
    field("shrinkage", self.shrinkage,
          {.help = "multivariate: part of the identity mixed into the covariance", .min = 1e-6, .max = 1});
    field("variance_floor", self.variance_floor,
          {.help = "univariate: variances below this count as this", .min = 1e-12, .max = 1});
  }
  void validate() const;  // throws UserError

  bool has_decoder() const { return variant != "mlm"; }
  Gelu gelu_kind() const { return gelu == "erf" ? Gelu::erf : Gelu::tanh; }
};

}  // namespace lsd::models
