// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "lsd/core/error.h"
#include "lsd/models/autoencoder_config.h"
#include "lsd/models/denoiser.h"
#include "lsd/models/noise_schedule.h"

namespace lsd::models {
namespace {

void check_heads(std::int64_t width, std::int64_t heads) {
  if (heads < 1 || width % heads != 0 || (width / heads) % 8 != 0)
    throw UserError("width " + std::to_string(width) + " cannot be split into " + std::to_string(heads) +
                    " heads: width must be heads times a multiple of 8");
}

}  // namespace

void AutoencoderConfig::validate() const {
  check_heads(width, heads);
  if (norm == "multivariate" && moments == "global")
    throw UserError("norm = multivariate needs moments = micro_batch: covariances are not summed over ranks");
}

void DenoiserConfig::validate() const {
  check_heads(width, heads);
  if (time_features % 8 != 0)
    throw UserError("time_features must be a multiple of 8, not " + std::to_string(time_features));
  noise_schedule_from_name(schedule);
}

}  // namespace lsd::models
