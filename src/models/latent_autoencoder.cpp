// SPDX-License-Identifier: Apache-2.0
#include "latent_autoencoder_internal.h"

#include <cmath>

#include "parameter_range_internal.h"

namespace lsd::models {

struct LatentAutoencoder::Saved {
  nn::TransformerStack::Saved encoder, decoder;
  TensorView encoded;  // [rows, width]: the encoder's final norm
  TensorView z;        // [rows, width]
  TensorView decoded;  // [rows, width]: the decoder's final norm
  TensorView logits;   // float32 [rows, vocabulary]; their gradient after the loss
};

LatentAutoencoder::LatentAutoencoder(const AutoencoderConfig& config)
    : config_(config),
      encoder_(store_, config_),
      // Rows of the final norm have variance 1, so latents start near the unit variance that the KL asks for.
      latent_(ranged(store_, latent_range_,
                     [&] {
                       return nn::Linear(store_, "latent", config_.width, config_.width,
                                         {.kind = nn::Init::Kind::normal,
                                          .deviation = 1.0F / std::sqrt(static_cast<float>(config_.width))});
                     })),
      decoder_(store_, "decoder", decoder_shape(config_)),
      head_(ranged(store_, head_range_,
                   [&] {
                     return nn::Linear(store_, "head", config_.width, kVocabulary,
                                       {.kind = nn::Init::Kind::normal, .deviation = nn::small_init(config_.width)});
                   })),
      normalisation_(config_) {}

std::vector<MetricSpec> LatentAutoencoder::metrics() const {
  // The losses have times of their own: at a fixed one NM's weight is a constant, 0 at t = 0, and nothing else changes.
  return {{.name = "loss_recon", .sum_slot = kWeighted, .count = MetricCount::residues, .at_fixed_times = false},
          {.name = "loss_norm", .sum_slot = kNorm, .count = MetricCount::shares, .at_fixed_times = false},
          {.name = "loss",
           .sum_slot = kWeighted,
           .count = MetricCount::residues,
           .plus = "loss_norm",
           .plus_factor = config_.lambda,
           .at_fixed_times = false},
          {"cross_entropy", kUnweighted, MetricCount::targets},
          {"accuracy", kCorrect, MetricCount::targets}};
}

void LatentAutoencoder::map_to_latents(nn::StepContext& step, const Batch& batch, Saved& saved) const {
  const Shape shape{batch.layout.rows(), config_.width};
  saved.encoded = step.arena.allocate(step.activation, shape);
  saved.z = step.arena.allocate(step.activation, shape);
  encoder_.forward(step, batch, saved.encoded, &saved.encoder);
  latent_.forward(step, saved.encoded, saved.z);
}

TensorView LatentAutoencoder::encode(nn::StepContext& step, const Batch& batch) {
  const Shape shape{batch.layout.rows(), config_.width};
  TensorView z = step.arena.allocate(step.activation, shape);
  const ArenaScope scope(step.arena);
  TensorView encoded = step.arena.allocate(step.activation, shape);
  encoder_.forward(step, batch, encoded, nullptr);
  latent_.forward(step, encoded, z);
  return z;
}

TensorView LatentAutoencoder::decode(nn::StepContext& step, const Batch& batch, ConstTensorView z) {
  return logits_of(step, batch, z, nullptr);
}

TensorView LatentAutoencoder::logits_of(nn::StepContext& step, const Batch& batch, ConstTensorView z_in,
                                        Saved* saved) const {
  TensorView logits = step.arena.allocate(DType::float32, Shape{batch.layout.rows(), kVocabulary});
  const auto before = step.arena.mark();
  ConstTensorView stream = z_in;
  if (z_in.dtype() != step.residual) {
    TensorView converted = step.arena.allocate(step.residual, z_in.shape());
    nn::convert(step, z_in, converted);
    stream = converted;
  }
  TensorView decoded = step.arena.allocate(step.activation, z_in.shape());
  decoder_.forward(step, batch.layout, {}, stream, decoded, saved ? &saved->decoder : nullptr);
  head_.forward(step, decoded, logits);
  if (saved) {
    saved->decoded = decoded;
    saved->logits = logits;
  } else {
    step.arena.release(before);
  }
  return logits;
}

ConstTensorView LatentAutoencoder::draw_row_time(nn::StepContext& step, const Batch& batch,
                                                 const EvaluateOptions& options) const {
  if (!options.fixed_time && config_.variant != "nm") return {};
  TensorView row_time = step.arena.allocate(DType::float32, Shape{batch.layout.rows()});
  if (options.fixed_time)
    step.backend.pointwise().run(Fill{.y = row_time, .value = *options.fixed_time});
  else
    step.backend.random().run(UniformPerRow{.layout = batch.layout,
                                            .sequence_visit = batch.sequence_visit,
                                            .out = row_time,
                                            .key = step.key(RandomStream::nm_time)});
  return row_time;
}

ConstTensorView LatentAutoencoder::noised(nn::StepContext& step, const Batch& batch, ConstTensorView z,
                                          ConstTensorView row_time) const {
  if (!row_time.present()) return z;
  TensorView mixed = step.arena.like(z);
  step.backend.random().run(NoiseMix{.z = z,
                                     .layout = batch.layout,
                                     .sequence_visit = batch.sequence_visit,
                                     .row_time = row_time,
                                     .noised = mixed,
                                     .key = step.key(RandomStream::nm_noise)});
  return mixed;
}

void LatentAutoencoder::reconstruction_loss(nn::StepContext& step, const Batch& batch, ConstTensorView row_time,
                                            TensorView logits, bool with_gradient) const {
  step.backend.loss().run(CrossEntropy{.logits = logits,
                                       .targets = batch.targets,
                                       .row_time = config_.variant == "nm" ? row_time : ConstTensorView(),
                                       .scale = step.scalars.at(StepScalars::loss_scale),
                                       .grad_logits = with_gradient ? logits : TensorView(),
                                       .loss_sum = metric(step, kWeighted),
                                       .unweighted_sum = metric(step, kUnweighted),
                                       .correct = metric(step, kCorrect)});
}

void LatentAutoencoder::decoder_backward(nn::StepContext& step, const Batch& batch, const Saved& saved,
                                         TensorView grad_input) const {
  const ArenaScope scope(step.arena);
  TensorView grad_decoded = step.arena.like(saved.decoded);
  const auto grad_logits = nn::in_activation_type(step, saved.logits);
  head_.backward_weight(step, grad_logits, saved.decoded);
  head_.backward_input(step, grad_logits, grad_decoded);
  nn::report_final(step, head_range_);
  decoder_.backward(step, batch.layout, {}, grad_decoded, saved.decoder, grad_input, {});
}

void LatentAutoencoder::forward_backward(nn::StepContext& step, const Batch& batch, ConstTensorView micro_batch_share) {
  const ArenaScope scope(step.arena);
  Saved saved;
  map_to_latents(step, batch, saved);
  const auto row_time = draw_row_time(step, batch, {});
  logits_of(step, batch, noised(step, batch, saved.z, row_time), &saved);
  reconstruction_loss(step, batch, row_time, saved.logits, true);

  // Both losses' gradients are added in float32 and rounded once, to the stream's type.
  TensorView grad_z = step.arena.allocate(step.residual, saved.z.shape());
  {
    const ArenaScope decoder_scope(step.arena);
    TensorView grad_noised = step.arena.allocate(step.residual, saved.z.shape());
    decoder_backward(step, batch, saved, grad_noised);
    TensorView grad_clean = grad_noised;
    if (row_time.present()) {
      grad_clean = step.arena.like(grad_noised);
      step.backend.random().run(NoiseMixBackward{.grad_noised = grad_noised,
                                                 .row_time = row_time,
                                                 .row_sequence = batch.layout.row_sequence,
                                                 .grad_z = grad_clean});
    }
    normalisation_.run(step, batch, saved.z, micro_batch_share, grad_clean, grad_z, metric(step, kNorm));
  }
  const auto grad_latent = nn::in_activation_type(step, grad_z);
  latent_.backward_weight(step, grad_latent, saved.encoded);
  nn::report_final(step, latent_range_);
  TensorView grad_encoded = step.arena.like(saved.encoded);
  latent_.backward_input(step, grad_latent, grad_encoded);
  encoder_.backward(step, batch, grad_encoded, saved.encoder);
  nn::report_final(step, encoder_.embedding_range());
}

void LatentAutoencoder::evaluate(nn::StepContext& step, const Batch& batch, const EvaluateOptions& options) {
  const ArenaScope scope(step.arena);
  const TensorView z = encode(step, batch);
  const auto row_time = draw_row_time(step, batch, options);
  TensorView logits = logits_of(step, batch, noised(step, batch, z, row_time), nullptr);
  reconstruction_loss(step, batch, row_time, logits, false);
  normalisation_.run(step, batch, z, options.micro_batch_share, {}, {}, metric(step, kNorm));
}

}  // namespace lsd::models
