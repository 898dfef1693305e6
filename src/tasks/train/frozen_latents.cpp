// SPDX-License-Identifier: Apache-2.0
#include "frozen_latents_internal.h"
#include "lsd/core/error.h"

namespace lsd::tasks {

FrozenLatentsModel::FrozenLatentsModel(Backend& backend, std::unique_ptr<models::Denoiser> denoiser, Encoder encoder,
                                       std::shared_ptr<StoredBatch> stored, const train::LatentMoments& moments)
    : denoiser_(std::move(denoiser)), encoder_(encoder), stored_(std::move(stored)), standardiser_(backend, moments) {
  check((encoder_.model != nullptr) != (stored_ != nullptr), "latents come from one place");
  check(moments.width() == denoiser_->latent_width(), "moments have the latents' width");
}

// The latents stay in the arena until the caller's scope ends.
models::Batch FrozenLatentsModel::with_latents(nn::StepContext& step, const models::Batch& batch) const {
  auto out = batch;
  TensorView latents = step.arena.allocate(step.activation, Shape{batch.layout.rows(), denoiser_->latent_width()});
  const ArenaScope scope(step.arena);
  auto encoding = step;
  encoding.residual = encoder_.residual;
  const ConstTensorView raw = stored_ ? stored_->view() : ConstTensorView(encoder_.model->encode(encoding, batch));
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
