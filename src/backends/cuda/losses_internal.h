// SPDX-License-Identifier: Apache-2.0
#pragma once
// The losses, one file each.

#include "cuda_context_internal.h"

namespace lsd::backends::cuda {

std::size_t scratch_bytes_of(const CrossEntropy& op);
std::size_t scratch_bytes_of(const SquaredError& op);
void launch_cross_entropy(const CudaContext& context, const CrossEntropy& op, void* scratch);
void launch_squared_error(const CudaContext& context, const SquaredError& op, void* scratch);

}  // namespace lsd::backends::cuda
