// SPDX-License-Identifier: Apache-2.0
#include "masked_language_model_internal.h"

namespace lsd::models {

MaskedLanguageModel::MaskedLanguageModel(const AutoencoderConfig& config) : config_(config), encoder_(store_, config_) {
  head_range_.begin = store_.elements();
  dense_ = nn::Linear(store_, "head.dense", config_.width, config_.width,
                      {.kind = nn::Init::Kind::normal, .deviation = nn::small_init(config_.width)});
  norm_ = nn::LayerNorm(store_, "head.norm", config_.width);
  decoder_ = nn::Linear(store_, "head.decoder", encoder_.table(), kVocabulary);
  head_range_.end = store_.elements();
}

std::vector<MetricSpec> MaskedLanguageModel::metrics() const {
  return {{"loss_recon", kWeighted, MetricCount::targets},
          {"loss", kWeighted, MetricCount::targets},
          {"cross_entropy", kUnweighted, MetricCount::targets},
          {"accuracy", kCorrect, MetricCount::targets}};
}

TensorView MaskedLanguageModel::encode(nn::StepContext& step, const Batch& batch) {
  TensorView z = step.arena.allocate(step.activation, Shape{batch.layout.rows(), config_.width});
  encoder_.forward(step, batch, z, nullptr);
  return z;
}

TensorView MaskedLanguageModel::decode(nn::StepContext& step, const Batch& batch, ConstTensorView z) {
  TensorView logits = step.arena.allocate(DType::float32, Shape{batch.layout.rows(), kVocabulary});
  const ArenaScope scope(step.arena);
  HeadSaved saved;
  head_forward(step, z, logits, saved);
  return logits;
}

void MaskedLanguageModel::head_forward(nn::StepContext& step, ConstTensorView encoded, TensorView logits,
                                       HeadSaved& saved) const {
  for (auto* view : {&saved.pre, &saved.hidden, &saved.normed})
    *view = step.arena.allocate(step.activation, encoded.shape());
  dense_.forward_gelu(step, encoded, saved.pre, saved.hidden, Gelu::erf);
  norm_.forward(step, saved.hidden, {}, {}, saved.normed, saved.norm);
  decoder_.forward(step, saved.normed, logits);
}

void MaskedLanguageModel::head_backward(nn::StepContext& step, ConstTensorView encoded, ConstTensorView grad_logits,
                                        const HeadSaved& saved, TensorView grad_encoded) const {
  const ArenaScope scope(step.arena);
  TensorView grad_normed = step.arena.like(saved.normed), grad_hidden = step.arena.like(saved.hidden),
             grad_pre = step.arena.like(saved.pre);
  const auto grad = nn::in_activation_type(step, grad_logits);
  decoder_.backward_weight(step, grad, saved.normed);
  decoder_.backward_input(step, grad, grad_normed);
  norm_.backward(step, grad_normed, saved.norm, {}, grad_hidden);
  step.backend.pointwise().run(
      GeluBackward{.grad_y = grad_hidden, .x = saved.pre, .grad_x = grad_pre, .gelu = Gelu::erf});
  dense_.backward_weight(step, grad_pre, encoded);
  dense_.backward_input(step, grad_pre, grad_encoded);
  nn::report_final(step, head_range_);
}

void MaskedLanguageModel::loss(nn::StepContext& step, const Batch& batch, TensorView logits, bool with_gradient) const {
  step.backend.loss().run(CrossEntropy{.logits = logits,
                                       .targets = batch.targets,
                                       .scale = step.scalars.at(StepScalars::loss_scale),
                                       .grad_logits = with_gradient ? logits : TensorView(),
                                       .loss_sum = step.metrics.slice(kWeighted, 1),
                                       .unweighted_sum = step.metrics.slice(kUnweighted, 1),
                                       .correct = step.metrics.slice(kCorrect, 1)});
}

void MaskedLanguageModel::forward_backward(nn::StepContext& step, const Batch& batch, ConstTensorView) {
  const ArenaScope scope(step.arena);
  const auto rows = batch.layout.rows();
  nn::TransformerStack::Saved encoder_saved;
  TensorView encoded = step.arena.allocate(step.activation, Shape{rows, config_.width});
  encoder_.forward(step, batch, encoded, &encoder_saved);
  TensorView grad_encoded = step.arena.like(encoded);
  {
    const ArenaScope head_scope(step.arena);
    TensorView logits = step.arena.allocate(DType::float32, Shape{rows, kVocabulary});
    HeadSaved head_saved;
    head_forward(step, encoded, logits, head_saved);
    loss(step, batch, logits, true);
    head_backward(step, encoded, logits, head_saved, grad_encoded);
  }
  encoder_.backward(step, batch, grad_encoded, encoder_saved);
  nn::report_final(step, encoder_.embedding_range());
}

void MaskedLanguageModel::evaluate(nn::StepContext& step, const Batch& batch, const EvaluateOptions&) {
  const ArenaScope scope(step.arena);
  loss(step, batch, decode(step, batch, encode(step, batch)), false);
}

}  // namespace lsd::models
