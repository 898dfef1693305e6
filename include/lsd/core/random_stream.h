// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a random draw is for. The numbers are part of every result ever made: never reuse or renumber one.

#include <cstdint>

namespace lsd {

enum class RandomStream : std::uint32_t {
  init = 1,
  shuffle = 2,
  split = 3,
  crop = 4,
  mask = 5,
  nm_time = 6,
  nm_noise = 7,
  diffusion_time = 8,
  diffusion_noise = 9,
  dropout = 10,
  validation = 11,
  sample = 12,
  bootstrap = 13,
  probe = 14,
};

}  // namespace lsd
