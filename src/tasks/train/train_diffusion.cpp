// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/train_diffusion.h"

#include <fmt/format.h>

#include "frozen_latents_internal.h"
#include "lsd/core/error.h"
#include "lsd/models/noise_schedule.h"
#include "training_setup_internal.h"

namespace lsd::tasks {
namespace {

LatentMoments moments_of(const io::EmbeddingMoments& moments) { return {moments.mean, moments.variance()}; }

std::optional<LatentMoments> moments_of_checkpoint(const train::TrainingJob& job, std::int64_t width) {
  const auto checkpoint =
      io::open_latest_checkpoint(std::filesystem::path(job.run.directory) / "checkpoints", io::OnDamage::fall_back);
  if (!checkpoint) return std::nullopt;
  LatentMoments moments;
  const auto& file = checkpoint->file(kMomentsFile);
  for (const auto& [name, values] : {std::pair{"mean", &moments.mean}, std::pair{"variance", &moments.variance}}) {
    const auto array = file.require(name, io::ArrayType::float64, {width}).as<double>();
    values->assign(array.begin(), array.end());
  }
  return moments;
}

// Everything that must live as long as the run.
struct LatentSetup {
  std::optional<FrozenEncoder> encoder;
  std::unique_ptr<StoredLatents> train, valid;
  std::shared_ptr<StoredBatch> batch;
  std::optional<LatentMoments> moments;
  std::int64_t width = 0;
};

void open_latents(const TrainDiffusionConfig& config, train::TrainingJob& job, LatentSetup& setup) {
  if (config.latents.source == "recompute") {
    setup.encoder = open_encoder(config.latents.autoencoder);
    setup.width = setup.encoder->config.width;
    job.content.token_dropout = setup.encoder->token_dropout;
    job.identity.fingerprints["autoencoder"] = setup.encoder->weights_fingerprint;
    return;
  }
  if (config.run.memory_plan) {
    setup.width = io::EmbeddingReader(config.latents.dump).width();
    return;
  }
  setup.train = std::make_unique<StoredLatents>(config.latents.dump, *job.train);
  setup.width = setup.train->width();
  job.identity.fingerprints["autoencoder"] = setup.train->manifest().identity.weights;
  if (config.latents.valid_dump.empty())
    job.valid = nullptr;
  else
    setup.valid = std::make_unique<StoredLatents>(config.latents.valid_dump, *job.valid);
}

void find_moments(const TrainDiffusionConfig& config, train::TrainingJob& job, LatentSetup& setup) {
  setup.moments = moments_of_checkpoint(job, setup.width);
  if (setup.moments) return;
  if (!config.latents.moments.empty()) {
    setup.moments = moments_of(io::read_embedding_manifest(config.latents.moments).moments);
  } else if (setup.train) {
    setup.moments = moments_of(setup.train->manifest().moments);
  } else {
    job.log.info("one pass over the training split for the moments of the latents");
    setup.moments = compute_moments(job, *setup.encoder, config.latents.moment_micro_batches);
  }
  if (static_cast<std::int64_t>(setup.moments->mean.size()) != setup.width)
    throw UserError(fmt::format("the moments have {} dimensions, the latents {}", setup.moments->mean.size(), setup.width));
}

// Moments travel with every checkpoint: whoever uses the model needs them.
void keep_moments(train::TrainingJob& job, const LatentMoments& moments) {
  const auto array = [](const char* name, const std::vector<double>& values) {
    return io::NamedArray{name, io::ArrayType::float64, {static_cast<std::int64_t>(values.size())},
                          std::as_bytes(std::span<const double>(values))};
  };
  job.identity.files[kMomentsFile] = {array("mean", moments.mean), array("variance", moments.variance)};
}

train::BuildModel builder(const TrainDiffusionConfig& config, const LatentSetup& setup, std::int64_t rows) {
  return [&config, &setup, rows](Backend& backend) -> std::unique_ptr<models::Model> {
    const auto type = dtype_from_name(config.compute.activation);
    auto denoiser = models::build_denoiser(config.model, setup.width);
    denoiser->parameters().allocate(backend, type, true);
    std::unique_ptr<models::Autoencoder> encoder;
    std::shared_ptr<StoredBatch> stored = setup.batch;
    if (setup.encoder)
      encoder = build_encoder(*setup.encoder, backend, type);
    else if (backend.planning() || !stored)
      stored = std::make_shared<StoredBatch>(backend, rows, setup.width, type);
    return std::make_unique<FrozenLatentsModel>(backend, std::move(denoiser), std::move(encoder), std::move(stored),
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
  job.ema = true;
  job.draws_times = true;
  job.sampling = config.sampling.importance == "none" ? train::ImportanceSampler::Kind::none
                                                      : train::ImportanceSampler::Kind::loss_rms;
  const auto schedule = models::noise_schedule_from_name(config.model.schedule);
  job.effective_time = [schedule](double t) { return models::effective_time(schedule, t); };
  job.build = builder(config, setup, config.training.capacity);
  if (setup.encoder) {
    const auto encoder = models::build_autoencoder(setup.encoder->config);
    job.frozen_bytes = static_cast<std::size_t>(encoder->parameters().elements() *
                                                size_of(dtype_from_name(config.compute.activation)));
  }
  if (!config.run.memory_plan) {
    train::check_job(job);
    find_moments(config, job, setup);
    keep_moments(job, *setup.moments);
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
