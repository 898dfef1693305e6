// SPDX-License-Identifier: Apache-2.0
#pragma once
// The denoiser together with where its clean latents come from, as one Model: the trainer sees no difference. Latents
// are standardised per dimension, (z - mean) / deviation, before the denoiser sees them.

#include <filesystem>
#include <memory>
#include <vector>

#include "lsd/data/sequence_source.h"
#include "lsd/io/embedding_reader.h"
#include "lsd/train/frozen_model.h"
#include "lsd/train/training_run.h"

namespace lsd::tasks {

// Micro-batches are taken in steps of so many, so that the residues looked at do not depend on the ranks; larger counts
// are rounded up to a multiple of it.
inline constexpr std::int64_t kMomentStep = 16;

// Moments of the encoder's latents over the residues of the training split's first micro-batches, in record order; 0:
// all of them. Collective: micro-batches are shared, the result is the same on all ranks.
train::LatentMoments compute_moments(const train::TrainingJob& job, const train::FrozenEncoder& encoder,
                                     std::int64_t micro_batches);

// Rows of stored latents for one packed micro-batch, in the order of its rows.
class StoredLatents {
 public:
  StoredLatents(const std::filesystem::path& folder, const data::SequenceSource& source);
  std::int64_t width() const { return reader_.width(); }
  const io::EmbeddingManifest& manifest() const { return reader_.manifest(); }
  // Float32 values [rows, width]; rows without a sequence are 0.
  void read(const data::HostBatch& batch, std::vector<float>& values) const;

 private:
  void append(std::span<const std::byte> bytes, float*& to) const;
  io::EmbeddingReader reader_;
};

// Device memory that a stored batch goes to; shared between the model and the job's prepare hook.
class StoredBatch {
 public:
  StoredBatch(Backend& backend, std::int64_t rows, std::int64_t width, DType type);
  void upload(const StoredLatents& latents, const data::HostBatch& batch);
  ConstTensorView view() const { return view_; }

 private:
  Backend& backend_;
  DeviceMemory memory_;
  TensorView view_;
  std::vector<float> host_;
  std::vector<BFloat16> rounded_;
};

class FrozenLatentsModel : public models::Model {
 public:
  // Exactly one of `encoder.model`, which must outlive this, and `stored` is there.
  struct Encoder {
    models::Autoencoder* model = nullptr;
    DType residual = DType::float32;  // the type of its own residual stream: as in dumps, whatever the denoiser's is
  };
  FrozenLatentsModel(Backend& backend, std::unique_ptr<models::Denoiser> denoiser, Encoder encoder,
                     std::shared_ptr<StoredBatch> stored, const train::LatentMoments& moments);

  nn::ParameterStore& parameters() override { return denoiser_->parameters(); }
  models::LossCount loss_count() const override { return denoiser_->loss_count(); }
  int metric_slots() const override { return denoiser_->metric_slots(); }
  std::vector<models::MetricSpec> metrics() const override { return denoiser_->metrics(); }
  void forward_backward(nn::StepContext& step, const models::Batch& batch, ConstTensorView share) override;
  void evaluate(nn::StepContext& step, const models::Batch& batch, const models::EvaluateOptions& options) override;
  ConstTensorView sequence_losses() const override { return denoiser_->sequence_losses(); }

 private:
  models::Batch with_latents(nn::StepContext& step, const models::Batch& batch) const;

  std::unique_ptr<models::Denoiser> denoiser_;
  Encoder encoder_;
  std::shared_ptr<StoredBatch> stored_;
  train::LatentStandardiser standardiser_;
};

}  // namespace lsd::tasks
