// SPDX-License-Identifier: Apache-2.0
#include "latent_origin_internal.h"

#include <fmt/format.h>

#include "lsd/core/error.h"
#include "lsd/io/checkpoint.h"
#include "lsd/train/frozen_model.h"

namespace lsd::tasks {

LatentOrigin origin_of_dump(std::string option, std::string path, const io::EmbeddingIdentity& identity) {
  if (identity.representation != "encoder")
    throw UserError(
        fmt::format("{} = {} is a dump of representation {}; what a diffusion model learns are the "
                    "encoder's latents: give a dump of representation encoder",
                    option, path, identity.representation));
  return {.option = std::move(option), .path = std::move(path), .fingerprint = identity.weights};
}

LatentOrigin origin_of_autoencoder(std::string option, std::string path) {
  auto fingerprint = with_context("while opening " + option + " = " + path,
                                  [&] { return train::encoder_fingerprint(io::open_checkpoint_at(path)); });
  return {.option = std::move(option), .path = std::move(path), .fingerprint = std::move(fingerprint)};
}

void require_same_autoencoder(const LatentOrigin& first, const LatentOrigin& other) {
  if (first.fingerprint == other.fingerprint) return;
  throw UserError(
      fmt::format("{} = {} and {} = {} are of different autoencoders (fingerprints of the weights: {} and "
                  "{}): give latents, moments and autoencoder of the same training",
                  first.option, first.path, other.option, other.path, first.fingerprint, other.fingerprint));
}

}  // namespace lsd::tasks
