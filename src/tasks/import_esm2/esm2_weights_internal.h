// SPDX-License-Identifier: Apache-2.0
#pragma once
// ESM-2's arrays in the places of our parameters, as float32.

#include <string>
#include <vector>

#include "esm2_config_internal.h"
#include "esm2_names_internal.h"
#include "esm2_source_internal.h"
#include "lsd/nn/parameter_store.h"

namespace lsd::tasks {

struct Esm2Weights {
  std::vector<float> block;           // the whole block of the store
  std::vector<std::string> unused;    // arrays that our model has no use for
  std::vector<std::string> elements;  // element types met: "F32", ...
  FrequencyRounding frequencies = FrequencyRounding::none;
};

// Throws DataError naming every array that is missing, unknown, of another shape or type, or not finite.
Esm2Weights read_esm2_weights(const Esm2Source& source, const Esm2Config& config, const nn::ParameterStore& store);

}  // namespace lsd::tasks
