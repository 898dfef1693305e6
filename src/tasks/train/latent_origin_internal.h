// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which autoencoder made the latents that an option of lsd_train_diffusion names. Latents, their moments and those of
// the validation split must be of one: others have another distribution, and training on them looks like success.

#include <string>

#include "lsd/io/embedding_format.h"

namespace lsd::tasks {

struct LatentOrigin {
  std::string option, path;  // "latents.dump" and its value
  std::string fingerprint;   // of the autoencoder's weights
};

// Throws UserError unless the dump is of the encoder's own latents: other representations have other moments.
LatentOrigin origin_of_dump(std::string option, std::string path, const io::EmbeddingIdentity& identity);
LatentOrigin origin_of_autoencoder(std::string option, std::string path);

// Throws UserError naming both options, their folders and fingerprints when the autoencoders differ.
void require_same_autoencoder(const LatentOrigin& first, const LatentOrigin& other);

}  // namespace lsd::tasks
