// SPDX-License-Identifier: Apache-2.0
#include "sequence_embedder_internal.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "lsd/core/error.h"
#include "lsd/data/host_batch.h"

namespace lsd::tasks {
namespace {

constexpr std::int64_t kLongRowsStep = 256;  // capacities of long batches are multiples of this

models::RepresentationSpec spec_of(const FeatureConfig& config) {
  models::RepresentationSpec spec{.representation = models::representation_from_name(config.representation),
                                  .time = config.time,
                                  .input = models::denoiser_input_from_name(config.input),
                                  .draws = config.draws};
  spec.validate();
  return spec;
}

}  // namespace

void FeatureConfig::validate() const {
  if (autoencoder.empty()) throw UserError("features.autoencoder is missing: give a run directory or a checkpoint");
  if (representation != "encoder" && diffusion.empty()) {
    throw UserError(fmt::format("features.representation = {} needs features.diffusion", representation));
  }
  spec_of(*this);
}

FeatureModel::FeatureModel(Backend& backend, const FeatureConfig& config)
    : encoder(backend, config.autoencoder, dtype_from_name(config.activation)),
      spec(spec_of(config)),
      noise_seed(static_cast<std::uint32_t>(config.noise_seed)) {
  if (spec.representation == models::Representation::encoder) return;
  denoiser = std::make_unique<train::FrozenDenoiser>(backend, config.diffusion, encoder);
}

std::size_t FeatureModel::bytes() const {
  if (!denoiser) return encoder.bytes();
  return encoder.bytes() +
         static_cast<std::size_t>(denoiser->model().parameters().elements() * size_of(encoder.activation()));
}

struct SequenceEmbedder::Device {
  Device(Backend& backend, const FeatureModel& model, const train::BatchShape& shape)
      : host(shape.capacity, shape.max_sequences),
        runner(backend, model.encoder, model.denoiser.get(), model.spec, shape, model.noise_seed),
        width(model.width()),
        slots(shape.max_sequences),
        memory(backend.allocate(static_cast<std::size_t>(kStatistics + (2 + slots) * width) * sizeof(float))) {
    const TensorView all(memory.data(), DType::float32, Shape{kStatistics + (2 + slots) * width}, backend.device());
    count = all.slice(0, 1);
    mean = all.slice(kStatistics, width).reshaped(Shape{1, width});
    variance = all.slice(kStatistics + width, width).reshaped(Shape{1, width});
    means = all.slice(kStatistics + 2 * width, slots * width).reshaped(Shape{slots, width});
  }

  static constexpr std::int64_t kStatistics = 64;  // keeps the matrices aligned behind the count
  data::HostBatch host;
  train::LatentRunner runner;
  std::int64_t width, slots;
  DeviceMemory memory;
  TensorView count, mean, variance, means;
};

SequenceEmbedder::SequenceEmbedder(Backend& backend, const FeatureModel& model, const FeatureConfig& config,
                                   const data::SequenceSource& source)
    : backend_(backend),
      model_(model),
      source_(source),
      packing_{.capacity = config.capacity, .max_sequences = config.max_sequences, .max_length = 0} {
  for (std::int64_t record = 0; record < source.size(); ++record) {
    longest_rows_ = std::max<std::int64_t>(longest_rows_, source.length(record) + 2);
  }
}

SequenceEmbedder::~SequenceEmbedder() = default;

std::vector<data::MicroBatchPlan> SequenceEmbedder::plan(std::int64_t begin, std::int64_t end) const {
  return data::plan_in_order(source_, begin, end, packing_);
}

SequenceEmbedder::Device& SequenceEmbedder::device_for(std::int64_t rows) {
  const auto make = [&](std::int64_t capacity, std::int64_t max_sequences) {
    return std::make_unique<Device>(
        backend_, model_,
        train::BatchShape{.capacity = capacity, .max_sequences = max_sequences, .max_length = capacity});
  };
  if (rows <= packing_.capacity) {
    if (!usual_) usual_ = make(packing_.capacity, packing_.max_sequences);
    return *usual_;
  }
  // One size for all long ones, so that it is planned once: the longest of the source.
  if (!long_) long_ = make((longest_rows_ + kLongRowsStep - 1) / kLongRowsStep * kLongRowsStep, 1);
  return *long_;
}

std::size_t SequenceEmbedder::memory_bytes() {
  return model_.bytes() + device_for(packing_.capacity).runner.memory_bytes();
}

void SequenceEmbedder::start(int slot, const data::MicroBatchPlan& plan, const EmbedRequest& request) {
  auto& device = device_for(plan.rows);
  data::fill_batch(source_, plan, {.specials = packing_.specials, .token_dropout = model_.encoder.token_dropout()},
                   device.host);
  const auto features = device.runner.run(device.host);
  const auto& batch = device.runner.batch();
  backend_.reduce().run(GroupMoments{.z = features,
                                     .row_group = batch.residue_group,
                                     .count = device.count,
                                     .mean = device.mean,
                                     .variance = device.variance});
  if (request.means)
    backend_.reduce().run(
        SequenceMean{.x = features, .row_mask = batch.residue_mask, .layout = batch.layout, .mean = device.means});
  auto& kept = slots_[static_cast<std::size_t>(slot)];
  kept.plan = &plan;
  copy_results(kept, device, features, request);
  backend_.record_event(slot);
}

void SequenceEmbedder::copy_results(Slot& slot, Device& device, ConstTensorView features, const EmbedRequest& request) {
  const auto rows = request.rows ? features.row_range(0, slot.plan->rows) : ConstTensorView{};
  const auto means =
      request.means ? ConstTensorView(device.means.row_range(0, static_cast<std::int64_t>(slot.plan->sequences.size())))
                    : ConstTensorView{};
  const auto bytes = static_cast<std::size_t>(device.mean.bytes() + device.variance.bytes() + means.bytes()) +
                     static_cast<std::size_t>(rows.bytes());
  if (slot.memory.bytes() < bytes) {
    slot.memory = {};
    slot.memory = backend_.allocate_staging(bytes);
  }
  auto* next = static_cast<std::byte*>(slot.memory.data());
  const auto copy = [&](ConstTensorView from) {
    const ConstTensorView to(next, from.dtype(), from.shape());
    if (!from.present()) return ConstTensorView{};
    backend_.copy_to_staging(next, from);
    next += from.bytes();
    return to;
  };
  const auto floats = [&](ConstTensorView from) {
    const auto to = copy(from);
    return to.present() ? to.span<float>() : std::span<const float>{};
  };
  slot.result = {.plan = slot.plan};
  slot.result.moment_mean = floats(device.mean);
  slot.result.moment_variance = floats(device.variance);
  slot.result.means = floats(means);
  slot.result.rows = copy(rows);
}

EmbeddedBatch SequenceEmbedder::finish(int slot) {
  backend_.wait_for_event(slot);
  const auto& result = slots_[static_cast<std::size_t>(slot)].result;
  for (const float value : result.moment_variance) {
    if (std::isfinite(value)) continue;
    throw DataError(
        fmt::format("the model gives features that are not finite for records {} to {}: its weights are damaged or "
                    "its training diverged",
                    result.plan->first_visit, result.plan->end_visit - 1));
  }
  return result;
}

}  // namespace lsd::tasks
