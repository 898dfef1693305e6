// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/frozen_model.h"

#include <fmt/format.h>

#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/io/checkpoint.h"
#include "lsd/train/checkpointing.h"
#include "lsd/train/memory_plan.h"

namespace lsd::train {
namespace {

// The program that made a checkpoint says so by the options it holds: only diffusion models have a noise schedule.
void require_kind(const io::Checkpoint& checkpoint, const char* key, const char* wanted) {
  if (checkpoint.state.config.contains(key)) return;
  throw UserError(fmt::format("{} is no checkpoint of {}", checkpoint.path.string(), wanted));
}

std::string fingerprint_of(const std::vector<float>& weights, const io::Settings& settings, std::string_view more) {
  ChecksumStream checksum;
  checksum.add(std::as_bytes(std::span(weights)));
  std::string text(more);
  for (const auto& [key, value] : settings) {
    if (key.starts_with("model.")) text += "|" + key + "=" + value;
  }
  checksum.add(std::as_bytes(std::span(text.data(), text.size())));
  return checksum_hex(checksum.value());
}

std::string setting_or(const io::Settings& settings, const std::string& key, std::string fallback) {
  const auto found = settings.find(key);
  return found == settings.end() ? fallback : found->second;
}

bool has_float16_rotary(const io::Settings& settings) {
  return setting_or(settings, kRotaryFrequencies, "exact") == "float16";
}

}  // namespace

std::string encoder_fingerprint(const io::Checkpoint& checkpoint) {
  require_kind(checkpoint, "model.variant", "an autoencoder");
  auto fingerprint = checksum_hex(checkpoint.model().checksum());
  // The same weights give other embeddings.
  if (has_float16_rotary(checkpoint.state.config))
    fingerprint = checksum_hex(checksum64(fingerprint + kRotaryFrequencies));
  return fingerprint;
}

FrozenEncoder::FrozenEncoder(Backend& backend, const std::filesystem::path& checkpoint, DType activation)
    : activation_(activation) {
  const auto opened = io::open_checkpoint_at(checkpoint);
  fingerprint_ = encoder_fingerprint(opened);
  const auto& settings = opened.state.config;
  auto config = config_from_settings<models::AutoencoderConfig>(settings, "model.");
  config.float16_rotary = has_float16_rotary(settings);
  model_ = models::build_autoencoder(config);
  model_->parameters().allocate(backend, activation, false);
  const auto weights = read_trained_weights(opened, model_->parameters());
  models::set_parameters(*model_, backend, weights);
  token_dropout_ =
      model_->config().variant == "mlm" && setting_or(settings, "masking.token_dropout", "false") == "true";
  if (activation == DType::bfloat16) residual_ = dtype_from_name(setting_or(settings, "compute.residual", "float32"));
}

std::size_t FrozenEncoder::bytes() const {
  return static_cast<std::size_t>(model_->parameters().elements() * size_of(activation_));
}

FrozenDenoiser::FrozenDenoiser(Backend& backend, const std::filesystem::path& checkpoint,
                               const FrozenEncoder& encoder) {
  const auto opened = io::open_checkpoint_at(checkpoint);
  require_kind(opened, "model.schedule", "a diffusion model");
  const auto& settings = opened.state.config;
  const auto trained_on = opened.state.fingerprints.find("autoencoder");
  if (trained_on != opened.state.fingerprints.end() && trained_on->second != encoder.fingerprint()) {
    throw UserError(
        fmt::format("{} was trained on latents of another autoencoder (fingerprint {}, the one given has {}): give "
                    "the one that its latents came from",
                    opened.path.string(), trained_on->second, encoder.fingerprint()));
  }
  const auto moments = read_latent_moments(opened, encoder.width());
  model_ = models::build_denoiser(config_from_settings<models::DenoiserConfig>(settings, "model."), encoder.width());
  model_->parameters().allocate(backend, encoder.activation(), false);
  const auto weights = read_trained_weights(opened, model_->parameters());
  models::set_parameters(*model_, backend, weights);
  standardiser_.emplace(backend, moments);
  schedule_ = models::noise_schedule_from_name(model_->config().schedule);
  fingerprint_ = fingerprint_of(weights, settings, encoder.fingerprint() + moments.fingerprint());
}

struct LatentRunner::State {
  State(Backend& backend_, const FrozenEncoder& encoder_, const FrozenDenoiser* denoiser_,
        const models::RepresentationSpec& spec, const BatchShape& shape, std::uint32_t seed_)
      : backend(backend_),
        encoder(encoder_),
        denoiser(denoiser_),
        device_batch(backend_, shape),
        scalars_memory(backend_.allocate(StepScalars::kSlots * sizeof(float))),
        scalars(TensorView(scalars_memory.data(), DType::float32, Shape{StepScalars::kSlots}, backend_.device())),
        map(backend_, spec, shape.max_sequences),
        arena(backend_.device()),
        seed(seed_) {}

  ConstTensorView compute() {
    nn::StepContext step{.backend = backend,
                         .arena = arena,
                         .scalars = scalars,
                         .seed = seed,
                         .activation = encoder.activation(),
                         .residual = encoder.residual()};
    const auto& batch = device_batch.views();
    TensorView z = encoder.model().encode(step, batch);
    const auto representation = map.spec().representation;
    if (representation == models::Representation::encoder) return z;
    denoiser->standardiser().standardise(step, z, z);
    TensorView out = map.apply(step, &denoiser->model(), batch, z);
    if (representation == models::Representation::denoised) denoiser->standardiser().restore(step, out, out);
    return out;
  }

  void plan_memory() {
    {
      const PlanningScope planning(backend);
      compute();
    }
    backend.reserve_scratch(backend.planned_scratch_bytes());
    const auto bytes = arena.peak_bytes();
    arena = Arena(backend.allocate(bytes), backend.device());
  }

  Backend& backend;
  const FrozenEncoder& encoder;
  const FrozenDenoiser* denoiser;
  DeviceBatch device_batch;
  DeviceMemory scalars_memory;
  StepScalars scalars;
  models::RepresentationMap map;
  Arena arena;
  std::uint32_t seed;
};

LatentRunner::LatentRunner(Backend& backend, const FrozenEncoder& encoder, const FrozenDenoiser* denoiser,
                           models::RepresentationSpec spec, const BatchShape& shape, std::uint32_t noise_seed) {
  check(denoiser != nullptr || spec.representation == models::Representation::encoder,
        "every representation but the encoder's has a denoiser");
  if (denoiser != nullptr) spec.schedule = denoiser->schedule();
  auto batch_shape = shape;
  batch_shape.token_dropout = encoder.token_dropout();
  state_ = std::make_unique<State>(backend, encoder, denoiser, spec, batch_shape, noise_seed);
  state_->plan_memory();
}

LatentRunner::~LatentRunner() = default;

ConstTensorView LatentRunner::run(const data::HostBatch& batch) {
  state_->device_batch.upload(batch);
  state_->arena.release(0);
  return state_->compute();
}

const models::Batch& LatentRunner::batch() const {
  return state_->device_batch.views();
}

std::size_t LatentRunner::memory_bytes() const {
  return state_->arena.capacity_bytes() + state_->backend.planned_scratch_bytes();
}

}  // namespace lsd::train
