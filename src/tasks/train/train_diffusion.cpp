// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/train_diffusion.h"

#include <fmt/format.h>

#include <optional>

#include "frozen_latents_internal.h"
#include "latent_origin_internal.h"
#include "lsd/core/error.h"
#include "lsd/models/noise_schedule.h"
#include "training_setup_internal.h"

namespace lsd::tasks {
namespace {

// Everything that must live as long as the run.
struct LatentSetup {
  std::optional<train::FrozenEncoder> frozen;
  std::unique_ptr<models::Autoencoder> planned;  // for memory plans ahead of any training: its shape alone
  FrozenLatentsModel::Encoder encoder;           // one of the two; null with stored latents
  std::unique_ptr<StoredLatents> train, valid;
  LatentOrigin origin;  // of all latents
  std::shared_ptr<StoredBatch> batch;
  train::LatentMoments moments;
  std::int64_t width = 0;
  std::int64_t rows = 0;  // of a micro-batch
};

// The shape that a config file of lsd_train_autoencoder describes.
void plan_encoder(const std::filesystem::path& config_file, Backend& backend, DType type, LatentSetup& setup) {
  TrainAutoencoderConfig config;
  ConfigSchema schema = describe(config);
  schema.read_file(config_file);
  setup.planned = models::build_autoencoder(config.model);
  const train::PlanningScope planning(backend);
  setup.planned->parameters().allocate(backend, type, false);
  setup.encoder = {setup.planned.get(), type == DType::float32 ? type : dtype_from_name(config.compute.residual)};
}

void open_encoder(const TrainDiffusionConfig& config, train::TrainingJob& job, LatentSetup& setup) {
  auto& backend = job.world.backend;
  const auto type = dtype_from_name(config.compute.activation);
  if (config.run.memory_plan && config.latents.autoencoder.ends_with(".cfg")) {
    plan_encoder(config.latents.autoencoder, backend, type, setup);
  } else {
    with_context("while opening latents.autoencoder = " + config.latents.autoencoder,
                 [&] { setup.frozen.emplace(backend, config.latents.autoencoder, type); });
    setup.encoder = {&setup.frozen->model(), setup.frozen->residual()};
    job.frozen_in_place = true;
    job.content.token_dropout = setup.frozen->token_dropout();
    setup.origin = {"latents.autoencoder", config.latents.autoencoder, setup.frozen->fingerprint()};
  }
  setup.width = setup.encoder.model->latent_width();
  job.frozen_bytes = static_cast<std::size_t>(setup.encoder.model->parameters().elements() * size_of(type));
}

void open_latents(const TrainDiffusionConfig& config, train::TrainingJob& job, LatentSetup& setup) {
  if (config.latents.source == "recompute") return open_encoder(config, job, setup);
  setup.width = io::EmbeddingReader(config.latents.dump).width();
  const auto bytes_per_value = size_of(dtype_from_name(config.compute.activation));
  job.extra_bytes_per_token = static_cast<std::size_t>(setup.width * bytes_per_value);
  if (config.run.memory_plan) return;
  setup.train = std::make_unique<StoredLatents>(config.latents.dump, *job.train);
  setup.origin = origin_of_dump("latents.dump", config.latents.dump, setup.train->manifest().identity);
  if (!config.latents.autoencoder.empty())
    require_same_autoencoder(setup.origin, origin_of_autoencoder("latents.autoencoder", config.latents.autoencoder));
  if (config.latents.valid_dump.empty()) {
    job.valid = nullptr;
    return;
  }
  setup.valid = std::make_unique<StoredLatents>(config.latents.valid_dump, *job.valid);
  require_same_autoencoder(
      setup.origin, origin_of_dump("latents.valid_dump", config.latents.valid_dump, setup.valid->manifest().identity));
}

train::LatentMoments moments_of_dump(const std::string& folder, const LatentOrigin& latents) {
  const auto manifest = io::read_embedding_manifest(folder);
  require_same_autoencoder(latents, origin_of_dump("latents.moments", folder, manifest.identity));
  return train::moments_of(manifest);
}

std::string moment_text(std::int64_t micro_batches) {
  if (micro_batches == 0) return "moments of the latents: one pass over the training split";
  return fmt::format(
      "moments of the latents: over the first {} micro-batches of the training split "
      "(latents.moment_micro_batches, above {} a multiple of it; 0: all of it)",
      micro_batches <= kMomentStep ? micro_batches : (micro_batches + kMomentStep - 1) / kMomentStep * kMomentStep,
      kMomentStep);
}

// Moments are part of the run: a resumed one takes those of its checkpoint.
void find_moments(const TrainDiffusionConfig& config, train::TrainingJob& job, LatentSetup& setup) {
  const auto checkpoint =
      io::open_latest_checkpoint(std::filesystem::path(job.run.directory) / "checkpoints", io::OnDamage::fall_back);
  if (checkpoint) {
    setup.moments = train::read_latent_moments(*checkpoint, setup.width);
  } else if (!config.latents.moments.empty()) {
    setup.moments = moments_of_dump(config.latents.moments, setup.origin);
  } else if (setup.train) {
    setup.moments = train::moments_of(setup.train->manifest());
  } else {
    job.log.info(moment_text(config.latents.moment_micro_batches));
    setup.moments = compute_moments(job, *setup.frozen, config.latents.moment_micro_batches);
  }
  if (setup.moments.width() != setup.width)
    throw UserError(fmt::format("the moments have {} dimensions, the latents {}", setup.moments.width(), setup.width));
}

train::BuildModel builder(const TrainDiffusionConfig& config, const LatentSetup& setup) {
  return [&config, &setup](Backend& backend) -> std::unique_ptr<models::Model> {
    const auto type = dtype_from_name(config.compute.activation);
    auto denoiser = models::build_denoiser(config.model, setup.width);
    denoiser->parameters().allocate(backend, type, true);
    std::shared_ptr<StoredBatch> stored = setup.batch;
    if (!setup.encoder.model && (backend.planning() || !stored))
      stored = std::make_shared<StoredBatch>(backend, setup.rows, setup.width, type);
    return std::make_unique<FrozenLatentsModel>(backend, std::move(denoiser), setup.encoder, std::move(stored),
                                                setup.moments);
  };
}

}  // namespace

void LatentsConfig::validate() const {
  if (source == "recompute" && autoencoder.empty())
    throw UserError("latents.source = recompute needs latents.autoencoder: the run directory of a trained autoencoder");
  if (source == "stored" && dump.empty())
    throw UserError("latents.source = stored needs latents.dump: a folder that lsd_dump_latents made");
}

Outcome train_diffusion(const TrainDiffusionConfig& config, Runtime& runtime) {
  auto job = common_job(config, runtime, "lsd_train_diffusion");
  LatentSetup setup;
  open_latents(config, job, setup);
  job.ema = config.ema.decay > 0.0;
  job.ema_decay = config.ema.decay;
  job.draws_times = true;
  job.sampling = config.sampling.importance == "none" ? train::ImportanceSampler::Kind::none
                                                      : train::ImportanceSampler::Kind::loss_rms;
  job.importance = {.uniform_share = config.sampling.uniform_share,
                    .decay = config.sampling.decay,
                    .warmup_losses = config.sampling.warmup_losses};
  const auto schedule = models::noise_schedule_from_name(config.model.schedule);
  job.effective_time = [schedule](double t) { return models::effective_time(schedule, t); };
  job.build = builder(config, setup);
  setup.rows = config.training.capacity;
  job.set_capacity = [&setup](std::int64_t capacity) { setup.rows = capacity; };
  setup.moments = {std::vector<float>(static_cast<std::size_t>(setup.width)),
                   std::vector<float>(static_cast<std::size_t>(setup.width), 1.0F)};
  if (!config.run.memory_plan) {
    train::check_job(job);
    job.identity.fingerprints["autoencoder"] = setup.origin.fingerprint;
    find_moments(config, job, setup);
    job.identity.files[train::kMomentsFile] = train::named_moments(setup.moments);
  }
  if (setup.train) {
    setup.batch = std::make_shared<StoredBatch>(*runtime.backend, config.training.capacity, setup.width,
                                                dtype_from_name(config.compute.activation));
    job.prepare = [&setup](const data::HostBatch& batch, bool validating) {
      setup.batch->upload(validating ? *setup.valid : *setup.train, batch);
    };
  }
  return train::run_training(std::move(job)) ? Outcome::done : Outcome::stopped;
}

}  // namespace lsd::tasks
