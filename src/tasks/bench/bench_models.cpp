// SPDX-License-Identifier: Apache-2.0
#include <map>

#include "bench_work_internal.h"
#include "lsd/models/build_model.h"

namespace lsd::tasks {
namespace {

struct Size {
  std::int64_t width, heads, encoder, decoder, denoiser;
};
const std::map<std::string, Size> kSizes = {{"nano", {128, 4, 2, 2, 2}},
                                            {"s", {512, 8, 6, 6, 12}},
                                            {"m", {768, 12, 12, 12, 24}},
                                            {"l", {1280, 20, 16, 16, 32}}};

// A denoiser on latents that stand ready in device memory, as from a dump that is read ahead.
class ReadyLatents : public models::Model {
 public:
  ReadyLatents(Backend& backend, std::unique_ptr<models::Denoiser> denoiser, std::int64_t rows, DType type)
      : denoiser_(std::move(denoiser)),
        memory_(backend.allocate(static_cast<std::size_t>(rows * denoiser_->latent_width() * size_of(type)))),
        latents_(memory_.data(), type, Shape{rows, denoiser_->latent_width()}, backend.device()) {
    backend.pointwise().run(Fill{.y = latents_, .value = 0.5F});
  }
  nn::ParameterStore& parameters() override { return denoiser_->parameters(); }
  models::LossCount loss_count() const override { return denoiser_->loss_count(); }
  int metric_slots() const override { return denoiser_->metric_slots(); }
  std::vector<models::MetricSpec> metrics() const override { return denoiser_->metrics(); }
  ConstTensorView sequence_losses() const override { return denoiser_->sequence_losses(); }
  void forward_backward(nn::StepContext& step, const models::Batch& batch, ConstTensorView share) override {
    denoiser_->forward_backward(step, with_latents(batch), share);
  }
  void evaluate(nn::StepContext& step, const models::Batch& batch, const models::EvaluateOptions& options) override {
    denoiser_->evaluate(step, with_latents(batch), options);
  }

 private:
  models::Batch with_latents(models::Batch batch) const {
    batch.latents = latents_;
    return batch;
  }
  std::unique_ptr<models::Denoiser> denoiser_;
  DeviceMemory memory_;
  TensorView latents_;
};

// An encoder whose evaluation is the embedding pass: latents, then their means.
class EmbeddingPass : public models::Model {
 public:
  explicit EmbeddingPass(std::unique_ptr<models::Autoencoder> encoder) : encoder_(std::move(encoder)) {}
  nn::ParameterStore& parameters() override { return encoder_->parameters(); }
  models::LossCount loss_count() const override { return encoder_->loss_count(); }
  int metric_slots() const override { return encoder_->metric_slots(); }
  std::vector<models::MetricSpec> metrics() const override { return encoder_->metrics(); }
  void forward_backward(nn::StepContext&, const models::Batch&, ConstTensorView) override {}
  void evaluate(nn::StepContext& step, const models::Batch& batch, const models::EvaluateOptions&) override {
    const ArenaScope scope(step.arena);
    const auto z = encoder_->encode(step, batch);
    const auto mean =
        step.arena.allocate(DType::float32, Shape{batch.layout.max_sequences(), encoder_->latent_width()});
    step.backend.reduce().run(
        SequenceMean{.x = z, .row_mask = batch.residue_mask, .layout = batch.layout, .mean = mean});
  }

 private:
  std::unique_ptr<models::Autoencoder> encoder_;
};

}  // namespace

train::BuildModel bench_model(const StepBenchConfig& config, std::int64_t rows) {
  return [config, rows](Backend& backend) -> std::unique_ptr<models::Model> {
    const auto size = kSizes.at(config.model);
    const auto type = dtype_from_name(config.activation);
    if (config.work == "diffusion") {
      models::DenoiserConfig denoiser{.width = size.width, .heads = size.heads, .layers = size.denoiser};
      auto model = models::build_denoiser(denoiser, size.width);
      model->parameters().allocate(backend, type, true);
      return std::make_unique<ReadyLatents>(backend, std::move(model), rows, type);
    }
    models::AutoencoderConfig autoencoder{.variant = config.work == "dump" ? "nm" : config.work,
                                          .width = size.width,
                                          .heads = size.heads,
                                          .encoder_layers = size.encoder,
                                          .decoder_layers = size.decoder};
    auto model = models::build_autoencoder(autoencoder);
    model->parameters().allocate(backend, type, true);
    if (config.work == "dump") return std::make_unique<EmbeddingPass>(std::move(model));
    return model;
  };
}

}  // namespace lsd::tasks
