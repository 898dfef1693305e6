// SPDX-License-Identifier: Apache-2.0
#pragma once
// What config.json and vocab.txt say of a model, checked against what our encoder computes.

#include <filesystem>

#include "lsd/models/autoencoder_config.h"

namespace lsd::tasks {

struct Esm2Config {
  models::AutoencoderConfig model;  // variant mlm, gelu erf
  bool token_dropout = false;
  bool tied = true;  // the head's matrix is the embedding
};

// Throws DataError naming the file, the key, its value and what it would have to be.
Esm2Config read_esm2_config(const std::filesystem::path& folder);

}  // namespace lsd::tasks
