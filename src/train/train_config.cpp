// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/train_config.h"

#include "lsd/core/error.h"

namespace lsd::train {

void check_residual_type(const std::string& activation, const std::string& residual) {
  if (activation == "float32" && residual == "bfloat16")
    throw UserError(
        "the residual stream cannot be bfloat16 while activations are float32: set residual = float32, or "
        "activation = bfloat16 as well");
}

}  // namespace lsd::train
