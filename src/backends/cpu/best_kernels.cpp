// SPDX-License-Identifier: Apache-2.0
#include "kernels/kernels_internal.h"

namespace lsd::backends::cpu {

const Kernels& best_kernels() {
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"))
    return avx512::kKernels;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::kKernels;
  return sse2::kKernels;
}

}  // namespace lsd::backends::cpu
