// SPDX-License-Identifier: Apache-2.0
#include "transformer_denoiser_internal.h"

#include "lsd/core/error.h"
#include "parameter_range_internal.h"

namespace lsd::models {
namespace {

nn::StackShape stack_shape(const DenoiserConfig& config) {
  return {.width = config.width,
          .heads = config.heads,
          .layers = config.layers,
          .gelu = config.gelu == "erf" ? Gelu::erf : Gelu::tanh,
          .adaptive = true};
}

}  // namespace

struct TransformerDenoiser::Saved {
  nn::TimeEmbedding::Saved time;
  TensorView conditioning;  // [max_sequences, width]
  nn::TransformerStack::Saved stack;
  TensorView hidden;  // [rows, width]: the final adaptive norm
};

TransformerDenoiser::TransformerDenoiser(const DenoiserConfig& config, std::int64_t latent_width)
    : config_(config),
      latent_width_(latent_width),
      time_(ranged(store_, time_range_,
                   [&] { return nn::TimeEmbedding(store_, "denoiser.time", config_.time_features, config_.width); })),
      input_(ranged(store_, input_range_,
                    [&] {
                      return nn::Linear(store_, "denoiser.input", latent_width_, config_.width,
                                        {.kind = nn::Init::Kind::normal, .deviation = nn::small_init(latent_width_)});
                    })),
      stack_(store_, "denoiser", stack_shape(config_)),
      output_(ranged(store_, output_range_,
                     [&] { return nn::Linear(store_, "denoiser.output", config_.width, latent_width_, {}); })) {}

std::vector<MetricSpec> TransformerDenoiser::metrics() const {
  return {{"loss", kWeighted, MetricCount::residues}, {"loss_unweighted", kUnweighted, MetricCount::residues}};
}

TransformerDenoiser::Mixed TransformerDenoiser::mix(nn::StepContext& step, const Batch& batch,
                                                    ConstTensorView sequence_time) const {
  check(batch.latents.present(), "a denoiser's batch holds latents");
  const Mixed mixed{step.arena.like(batch.latents), step.arena.like(batch.latents)};
  step.backend.random().run(NoiseMix{.z = batch.latents,
                                     .layout = batch.layout,
                                     .sequence_visit = batch.sequence_visit,
                                     .sequence_time = sequence_time,
                                     .noised = mixed.z_in,
                                     .velocity = mixed.target,
                                     .key = step.key(RandomStream::diffusion_noise)});
  return mixed;
}

void TransformerDenoiser::predict(nn::StepContext& step, const PackedLayout& layout, ConstTensorView z_in,
                                  ConstTensorView sequence_time, TensorView prediction, Saved* saved) const {
  const auto before = step.arena.mark();
  Saved unkept;
  Saved& kept = saved ? *saved : unkept;
  const Shape shape{z_in.shape().rows(), config_.width};
  kept.conditioning = step.arena.allocate(step.activation, Shape{sequence_time.elements(), config_.width});
  time_.forward(step, sequence_time, kept.conditioning, kept.time);
  TensorView stream = step.arena.allocate(step.residual, shape);
  input_.forward(step, z_in, stream);
  kept.hidden = step.arena.allocate(step.activation, shape);
  stack_.forward(step, layout, kept.conditioning, stream, kept.hidden, saved ? &kept.stack : nullptr);
  output_.forward(step, kept.hidden, prediction);
  if (!saved) step.arena.release(before);
}

TensorView TransformerDenoiser::velocity(nn::StepContext& step, const PackedLayout& layout, ConstTensorView z_in,
                                         ConstTensorView sequence_time) {
  TensorView prediction = step.arena.like(z_in);
  predict(step, layout, z_in, sequence_time, prediction, nullptr);
  return prediction;
}

void TransformerDenoiser::loss(nn::StepContext& step, const Batch& batch, ConstTensorView prediction,
                               ConstTensorView target, TensorView grad) const {
  const ArenaScope scope(step.arena);
  const auto sequences = Shape{batch.layout.max_sequences()};
  const TensorView ones = step.arena.allocate(DType::float32, sequences);
  ConstTensorView weight = batch.sequence_weight;
  if (!weight.present()) {
    step.backend.pointwise().run(Fill{.y = ones, .value = 1.0F});
    weight = ones;
  }
  step.backend.loss().run(SquaredError{.prediction = prediction,
                                       .target = target,
                                       .row_mask = batch.residue_mask,
                                       .row_sequence = batch.layout.row_sequence,
                                       .offsets = batch.layout.offsets,
                                       .weight = weight,
                                       .scale = step.scalars.at(StepScalars::loss_scale),
                                       .grad_prediction = grad,
                                       .sequence_loss = sequence_losses_,
                                       .loss_sum = step.metrics.slice(kWeighted, 1),
                                       .unweighted_sum = step.metrics.slice(kUnweighted, 1)});
}

void TransformerDenoiser::backward(nn::StepContext& step, const Batch& batch, ConstTensorView z_in,
                                   ConstTensorView grad_prediction, const Saved& saved) const {
  const ArenaScope scope(step.arena);
  TensorView grad_hidden = step.arena.like(saved.hidden), grad_conditioning = step.arena.like(saved.conditioning);
  output_.backward_weight(step, grad_prediction, saved.hidden);
  output_.backward_input(step, grad_prediction, grad_hidden);
  nn::report_final(step, output_range_);
  TensorView grad_stream = step.arena.allocate(step.residual, saved.hidden.shape());
  stack_.backward(step, batch.layout, saved.conditioning, grad_hidden, saved.stack, grad_stream, grad_conditioning);
  input_.backward_weight(step, nn::in_activation_type(step, grad_stream), z_in);
  nn::report_final(step, input_range_);
  time_.backward(step, grad_conditioning, saved.time);
  nn::report_final(step, time_range_);
}

void TransformerDenoiser::keep_sequence_losses(Backend& backend, std::int64_t max_sequences) {
  if (sequence_losses_.elements() == max_sequences && (sequence_losses_.raw() || backend.planning())) return;
  sequence_loss_memory_ = backend.allocate(static_cast<std::size_t>(max_sequences) * sizeof(float));
  sequence_losses_ = TensorView(sequence_loss_memory_.data(), DType::float32, Shape{max_sequences}, backend.device());
}

void TransformerDenoiser::forward_backward(nn::StepContext& step, const Batch& batch, ConstTensorView) {
  keep_sequence_losses(step.backend, batch.layout.max_sequences());
  const ArenaScope scope(step.arena);
  const auto mixed = mix(step, batch, batch.sequence_time);
  Saved saved;
  TensorView prediction = step.arena.like(batch.latents), grad = step.arena.like(batch.latents);
  predict(step, batch.layout, mixed.z_in, batch.sequence_time, prediction, &saved);
  loss(step, batch, prediction, mixed.target, grad);
  backward(step, batch, mixed.z_in, grad, saved);
}

void TransformerDenoiser::evaluate(nn::StepContext& step, const Batch& batch, const EvaluateOptions& options) {
  keep_sequence_losses(step.backend, batch.layout.max_sequences());
  const ArenaScope scope(step.arena);
  ConstTensorView time = batch.sequence_time;
  if (options.fixed_time) {
    TensorView fixed = step.arena.allocate(DType::float32, Shape{batch.layout.max_sequences()});
    step.backend.pointwise().run(Fill{.y = fixed, .value = *options.fixed_time});
    time = fixed;
  }
  const auto mixed = mix(step, batch, time);
  loss(step, batch, velocity(step, batch.layout, mixed.z_in, time), mixed.target, {});
}

}  // namespace lsd::models
