// SPDX-License-Identifier: Apache-2.0
#pragma once
// Features of whole sequences, packed in record order: what dumps and probes share. Which records stand together in a
// batch depends on the range asked for alone, so the same range gives the same bits on any rank.
//
// start() gives the device a batch and the copies of its results; finish() waits for them. Several batches may be under
// way, each in a slot of host memory of its own.

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "lsd/data/packing.h"
#include "lsd/tasks/dump_latents.h"
#include "lsd/train/frozen_model.h"

namespace lsd::tasks {

// The frozen models of a FeatureConfig.
struct FeatureModel {
  FeatureModel(Backend& backend, const FeatureConfig& config);

  train::FrozenEncoder encoder;
  std::unique_ptr<train::FrozenDenoiser> denoiser;
  models::RepresentationSpec spec;
  std::uint32_t noise_seed = 0;

  std::int64_t width() const { return encoder.width(); }
  // Of every model that takes part.
  std::size_t bytes() const;  // of the weights of all of them
  const std::string& weights() const { return denoiser ? denoiser->fingerprint() : encoder.fingerprint(); }
};

// One packed batch in host memory, until its slot is started again. Rows of the batch's sequences stand end to end, in
// record order.
struct EmbeddedBatch {
  const data::MicroBatchPlan* plan;
  ConstTensorView rows;                                 // [plan.rows, width], activation type, when asked for
  std::span<const float> means;                         // [sequences, width], when asked for
  std::span<const float> moment_mean, moment_variance;  // [width] over plan.residues residues
};

struct EmbedRequest {
  bool rows = false, means = false;
};

class SequenceEmbedder {
 public:
  SequenceEmbedder(Backend& backend, const FeatureModel& model, const FeatureConfig& config,
                   const data::SequenceSource& source);
  ~SequenceEmbedder();

  std::vector<data::MicroBatchPlan> plan(std::int64_t begin, std::int64_t end) const;

  static constexpr int kSlots = 3;
  // `plan` must live until finish(). The slot's earlier batch is no longer in use.
  void start(int slot, const data::MicroBatchPlan& plan, const EmbedRequest& request);
  // Throws DataError when the features are not finite.
  EmbeddedBatch finish(int slot);
  // Of the models and of a usual batch, which it makes ready; a sequence above the capacity takes more.
  std::size_t memory_bytes();

 private:
  struct Device;
  struct Slot {
    const data::MicroBatchPlan* plan = nullptr;
    DeviceMemory memory;  // in host memory that copies are fast with; grows to the largest batch
    EmbeddedBatch result = {};
  };
  void copy_results(Slot& slot, Device& device, ConstTensorView features, const EmbedRequest& request);
  Device& device_for(std::int64_t rows);

  Backend& backend_;
  const FeatureModel& model_;
  const data::SequenceSource& source_;
  data::PackingOptions packing_;
  std::int64_t longest_rows_ = 0;
  std::unique_ptr<Device> usual_, long_;
  std::array<Slot, kSlots> slots_;
};

}  // namespace lsd::tasks
