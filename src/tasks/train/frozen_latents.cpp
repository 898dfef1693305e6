// SPDX-License-Identifier: Apache-2.0
#include "frozen_latents_internal.h"

#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/tasks/train_autoencoder.h"

namespace lsd::tasks {
FrozenEncoder open_encoder(const std::filesystem::path& path) {
  return with_context("while opening the autoencoder " + path.string(), [&] {
    FrozenEncoder frozen{.checkpoint = io::open_checkpoint_at(path)};
    const auto& settings = frozen.checkpoint->state.config;
    if (!settings.contains("model.variant"))
      throw UserError(path.string() + " is no autoencoder's run; give latents.autoencoder the directory of one");
    frozen.config = train::config_from_settings<models::AutoencoderConfig>(settings, "model.");
    const auto dropout = settings.find("masking.token_dropout");
    frozen.token_dropout = frozen.config.variant == "mlm" && dropout != settings.end() && dropout->second == "true";
    frozen.weights_fingerprint = checksum_hex(frozen.checkpoint->model().checksum());
    return frozen;
  });
}

FrozenEncoder planned_encoder(const std::filesystem::path& config_file) {
  TrainAutoencoderConfig config;
  ConfigSchema schema = describe(config);
  schema.read_file(config_file);
  return {.config = config.model};
}

std::unique_ptr<models::Autoencoder> build_encoder(const FrozenEncoder& frozen, Backend& backend, DType type) {
  auto encoder = models::build_autoencoder(frozen.config);
  encoder->parameters().allocate(backend, type, false);
  if (!backend.planning()) {
    check(frozen.checkpoint.has_value(), "a frozen encoder has weights");
    models::set_parameters(*encoder, backend, train::read_trained_weights(*frozen.checkpoint, encoder->parameters()));
  }
  return encoder;
}

FrozenLatentsModel::FrozenLatentsModel(Backend& backend, std::unique_ptr<models::Denoiser> denoiser,
                                       std::unique_ptr<models::Autoencoder> encoder,
                                       std::shared_ptr<StoredBatch> stored, const train::LatentMoments& moments)
    : denoiser_(std::move(denoiser)),
      encoder_(std::move(encoder)),
      stored_(std::move(stored)),
      standardiser_(backend, moments) {
  check((encoder_ != nullptr) != (stored_ != nullptr), "latents come from one place");
  check(moments.width() == denoiser_->latent_width(), "moments have the latents' width");
}

// The latents stay in the arena until the caller's scope ends.
models::Batch FrozenLatentsModel::with_latents(nn::StepContext& step, const models::Batch& batch) const {
  auto out = batch;
  TensorView latents = step.arena.allocate(step.activation, Shape{batch.layout.rows(), denoiser_->latent_width()});
  const ArenaScope scope(step.arena);
  const ConstTensorView raw = stored_ ? stored_->view() : ConstTensorView(encoder_->encode(step, batch));
  standardiser_.standardise(step, raw, latents);
  out.latents = latents;
  return out;
}

void FrozenLatentsModel::forward_backward(nn::StepContext& step, const models::Batch& batch, ConstTensorView share) {
  const ArenaScope scope(step.arena);
  denoiser_->forward_backward(step, with_latents(step, batch), share);
}

void FrozenLatentsModel::evaluate(nn::StepContext& step, const models::Batch& batch,
                                  const models::EvaluateOptions& options) {
  const ArenaScope scope(step.arena);
  denoiser_->evaluate(step, with_latents(step, batch), options);
}

}  // namespace lsd::tasks
