// SPDX-License-Identifier: Apache-2.0
#pragma once
// Models from their options. Parameters are registered but have no memory: call parameters().allocate() next.

#include <memory>

#include "lsd/models/autoencoder.h"
#include "lsd/models/denoiser.h"

namespace lsd::models {

// Both throw UserError where the options do not fit together.
std::unique_ptr<Autoencoder> build_autoencoder(const AutoencoderConfig& config);
std::unique_ptr<Denoiser> build_denoiser(const DenoiserConfig& config, std::int64_t latent_width);

// Fills the compute block with initial values: pure function of seed and parameter names. Returns the float32 masters.
std::vector<float> initialise(Model& model, Backend& backend, std::uint32_t seed);
// Rounds float32 values of the whole block (masters, EMA, a checkpoint's weights) into the compute block.
void set_parameters(Model& model, Backend& backend, const std::vector<float>& values);

}  // namespace lsd::models
