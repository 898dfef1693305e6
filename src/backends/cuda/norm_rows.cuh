// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the kernels of norms share: a block holds one row in registers, eight neighbouring columns per thread, so that
// every array is read and written once.

#include "device_values.cuh"
#include "norms_internal.h"
#include "shared_kernels_internal.h"

namespace lsd::backends::cuda {

// One chunk of a modulation tensor [sequences, stride].
struct Chunk {
  std::int64_t stride = 0, begin = 0;
};

// g = gradient with respect to the normalised values n; the row's gradient is inv_std (g - mean(g) - n mean(g n)).
template <int N>
__device__ __forceinline__ void row_gradient(float (&g)[N], const float (&n)[N], float inv_std, std::int64_t width,
                                             float* pieces) {
  float sums[2] = {0.0F, 0.0F};
#pragma unroll
  for (int k = 0; k < N; ++k) {
    sums[0] += g[k];
    sums[1] += g[k] * n[k];
  }
  block_sum(sums, pieces);
  const float mean = sums[0] / static_cast<float>(width), mean_product = sums[1] / static_cast<float>(width);
#pragma unroll
  for (int k = 0; k < N; ++k) g[k] = inv_std * (g[k] - mean - n[k] * mean_product);
}

inline unsigned threads_for(std::int64_t width, int vector) {
  const auto threads = row_threads(width, vector);
  check(threads <= kMaxRowThreads, "a norm's width is at most 5120 and a multiple of 8, or at most 640");
  return static_cast<unsigned>(threads);
}

inline Chunk chunk_of(ConstTensorView modulation, std::int64_t width, int chunk) {
  return modulation.present() ? Chunk{modulation.shape()[1], chunk * width} : Chunk{};
}

}  // namespace lsd::backends::cuda
