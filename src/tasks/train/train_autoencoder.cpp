// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/train_autoencoder.h"

#include "lsd/core/error.h"
#include "lsd/models/build_model.h"
#include "training_setup_internal.h"

namespace lsd::tasks {

void MaskingConfig::validate() const {
  if (mask_share + random_share > 1.0)
    throw UserError("masking.mask_share + masking.random_share exceed 1: they are parts of the same targets");
}

std::vector<std::string> result_keys() {
  return {"run.seed",
          "model",
          "masking",
          "latents.source",
          "sampling",
          "ema",
          "optimizer",
          "data.max_length",
          "training.steps",
          "training.capacity",
          "training.micro_batches",
          "compute.activation",
          "compute.residual",
          "latents.moment_micro_batches"};
}

Outcome train_autoencoder(const TrainAutoencoderConfig& config, Runtime& runtime) {
  auto job = common_job(config, runtime, "lsd_train_autoencoder");
  job.global_moments = config.model.moments == "global" && config.model.has_decoder();
  if (config.model.variant == "mlm") {
    job.content.masking = data::MaskingOptions{.probability = config.masking.probability,
                                               .mask_share = config.masking.mask_share,
                                               .random_share = config.masking.random_share};
    job.content.token_dropout = config.masking.token_dropout;
    job.validation.times.clear();  // it has no noise
  }
  job.build = [model = config.model, type = dtype_from_name(config.compute.activation)](Backend& backend) {
    std::unique_ptr<models::Model> built = models::build_autoencoder(model);
    built->parameters().allocate(backend, type, true);
    return built;
  };
  return train::run_training(std::move(job)) ? Outcome::done : Outcome::stopped;
}

}  // namespace lsd::tasks
