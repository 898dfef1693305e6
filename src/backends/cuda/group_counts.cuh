// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which groups of rows are large enough to take part in a loss over groups; known only on the device.

#include <cstdint>

namespace lsd::backends::cuda {

__device__ __forceinline__ bool takes_part(float count, float min_count) {
  return count >= min_count && count > 0.0F;
}

// K, the number of groups that take part. There are few groups, so every thread counts for itself.
__device__ __forceinline__ int groups_taking_part(const float* count, std::int64_t groups, float min_count) {
  int taking_part = 0;
  for (std::int64_t g = 0; g < groups; ++g) taking_part += takes_part(count[g], min_count) ? 1 : 0;
  return taking_part;
}

}  // namespace lsd::backends::cuda
