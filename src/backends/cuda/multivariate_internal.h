// SPDX-License-Identifier: Apache-2.0
#pragma once
// KL of a group's latents, as a multivariate normal, to N(0, I): covariance by float32 products, a blocked Cholesky
// factor and its inverse in tiles of 32 x 32, all on the device.

#include "cuda_context_internal.h"

namespace lsd::backends::cuda {

std::size_t multivariate_scratch_bytes(const MultivariateKl& op);
void launch_multivariate(const CudaContext& context, const MultivariateKl& op, void* scratch);

}  // namespace lsd::backends::cuda
