// SPDX-License-Identifier: Apache-2.0
#pragma once
// Cholesky factors of matrices of whole tiles of 32 x 32, and the factors' inverses, on the device.

#include "cuda_context_internal.h"

namespace lsd::backends::cuda {

// matrix [d, d], in place: its factor, 0 above the diagonal. diagonal [d / 32, 32, 32] gets the inverses of the
// factor's diagonal tiles. A matrix that is not positive definite is a fault.
void launch_cholesky(const CudaContext& context, float* matrix, std::int64_t d, float* diagonal);
// inverse [d, d] = factor^-1, with what launch_cholesky left in both.
void launch_invert_lower(const CudaContext& context, const float* factor, const float* diagonal, std::int64_t d,
                         float* inverse);

}  // namespace lsd::backends::cuda
