// SPDX-License-Identifier: Apache-2.0
#pragma once
// Element-wise kernels that only the pointwise family launches; those of several families are in
// shared_kernels_internal.h.

#include "cuda_context_internal.h"

namespace lsd::backends::cuda {

void launch_silu(const CudaContext& context, const SiluForward& op);
void launch_silu_slope(const CudaContext& context, const SiluBackward& op);
void launch_fill(const CudaContext& context, const Fill& op);

}  // namespace lsd::backends::cuda
