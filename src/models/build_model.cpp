// SPDX-License-Identifier: Apache-2.0
#include "lsd/models/build_model.h"

#include "latent_autoencoder_internal.h"
#include "lsd/core/error.h"
#include "masked_language_model_internal.h"
#include "transformer_denoiser_internal.h"

namespace lsd::models {

std::unique_ptr<Autoencoder> build_autoencoder(const AutoencoderConfig& config) {
  config.validate();
  if (config.variant == "mlm") return std::make_unique<MaskedLanguageModel>(config);
  if (config.variant == "nm" || config.variant == "tn") return std::make_unique<LatentAutoencoder>(config);
  throw UserError("there is no autoencoder variant '" + config.variant + "': use nm, tn or mlm");
}

std::unique_ptr<Denoiser> build_denoiser(const DenoiserConfig& config, std::int64_t latent_width) {
  config.validate();
  if (latent_width < 8 || latent_width % 8 != 0)
    throw UserError("latents must have a multiple of 8 dimensions, not " + std::to_string(latent_width));
  return std::make_unique<TransformerDenoiser>(config, latent_width);
}

std::vector<float> initialise(Model& model, Backend& backend, std::uint32_t seed) {
  auto values = model.parameters().initial_values(seed);
  set_parameters(model, backend, values);
  return values;
}

void set_parameters(Model& model, Backend& backend, const std::vector<float>& values) {
  const TensorView block = model.parameters().compute_block();
  check(block.elements() == static_cast<std::int64_t>(values.size()), "values cover the whole parameter block");
  if (block.dtype() == DType::float32) {
    backend.copy_to_device(block, values.data());
    backend.synchronize();
    return;
  }
  check(block.dtype() == DType::bfloat16, "parameters are float32 or bfloat16");
  std::vector<BFloat16> rounded;
  rounded.reserve(values.size());
  for (const float value : values) rounded.emplace_back(value);
  backend.copy_to_device(block, rounded.data());
  backend.synchronize();
}

}  // namespace lsd::models
