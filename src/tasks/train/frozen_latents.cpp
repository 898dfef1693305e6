// SPDX-License-Identifier: Apache-2.0
#include "frozen_latents_internal.h"

#include <algorithm>
#include <cmath>

#include "lsd/core/checksum.h"
#include "lsd/core/error.h"

namespace lsd::tasks {
namespace {

// A dimension that never moves would blow up; it is only centred.
double safe_scale(double variance) { return variance > 1e-12 ? 1.0 / std::sqrt(variance) : 1.0; }

}  // namespace

FrozenEncoder open_encoder(const std::filesystem::path& path) {
  return with_context("while opening the autoencoder " + path.string(), [&] {
    FrozenEncoder frozen{.checkpoint = io::open_checkpoint_at(path)};
    const auto& settings = frozen.checkpoint.state.config;
    if (!settings.contains("model.variant"))
      throw UserError(path.string() + " is no autoencoder's run; give latents.autoencoder the directory of one");
    frozen.config = train::config_from_settings<models::AutoencoderConfig>(settings, "model.");
    const auto dropout = settings.find("masking.token_dropout");
    frozen.token_dropout = frozen.config.variant == "mlm" && dropout != settings.end() && dropout->second == "true";
    frozen.weights_fingerprint = checksum_hex(frozen.checkpoint.model().checksum());
    return frozen;
  });
}

std::unique_ptr<models::Autoencoder> build_encoder(const FrozenEncoder& frozen, Backend& backend, DType type) {
  auto encoder = models::build_autoencoder(frozen.config);
  encoder->parameters().allocate(backend, type, false);
  if (!backend.planning())
    models::set_parameters(*encoder, backend, train::read_trained_weights(frozen.checkpoint, encoder->parameters()));
  return encoder;
}

FrozenLatentsModel::FrozenLatentsModel(Backend& backend, std::unique_ptr<models::Denoiser> denoiser,
                                       std::unique_ptr<models::Autoencoder> encoder,
                                       std::shared_ptr<StoredBatch> stored, const std::optional<LatentMoments>& moments)
    : denoiser_(std::move(denoiser)), encoder_(std::move(encoder)), stored_(std::move(stored)) {
  check((encoder_ != nullptr) != (stored_ != nullptr), "latents come from one place");
  const auto width = denoiser_->latent_width();
  const auto padded = (width + 63) / 64 * 64;
  affine_memory_ = backend.allocate(static_cast<std::size_t>(2 * padded) * sizeof(float));
  const TensorView both(affine_memory_.data(), DType::float32, Shape{2 * padded}, backend.device());
  scale_ = both.slice(0, width);
  shift_ = both.slice(padded, width);
  if (backend.planning()) return;
  check(moments && static_cast<std::int64_t>(moments->mean.size()) == width, "moments have the latents' width");
  std::vector<float> scale, shift;
  for (std::size_t i = 0; i < moments->mean.size(); ++i) {
    scale.push_back(static_cast<float>(safe_scale(moments->variance[i])));
    shift.push_back(static_cast<float>(-moments->mean[i] * safe_scale(moments->variance[i])));
  }
  backend.copy_to_device(scale_, scale.data());
  backend.copy_to_device(shift_, shift.data());
  backend.synchronize();
}

// The latents stay in the arena until the caller's scope ends.
models::Batch FrozenLatentsModel::with_latents(nn::StepContext& step, const models::Batch& batch) const {
  auto out = batch;
  TensorView latents = step.arena.allocate(step.activation, Shape{batch.layout.rows(), denoiser_->latent_width()});
  const ArenaScope scope(step.arena);
  const ConstTensorView raw = stored_ ? stored_->view() : ConstTensorView(encoder_->encode(step, batch));
  step.backend.pointwise().run(ColumnAffine{.x = raw, .scale = scale_, .shift = shift_, .y = latents});
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
