// SPDX-License-Identifier: Apache-2.0
#pragma once
// The norms, forward and backward.

#include "cuda_context_internal.h"

namespace lsd::backends::cuda {

// A block holds one row in its registers. Throws UserError when `width` is too large for that.
void require_norm_width(std::int64_t width);

void launch_norm(const CudaContext& context, const NormForward& op);
void launch_norm(const CudaContext& context, const AdaptiveNormForward& op);
std::size_t scratch_bytes_of(const NormBackward& op);
std::size_t scratch_bytes_of(const AdaptiveNormBackward& op);
void launch_norm(const CudaContext& context, const NormBackward& op, void* scratch);
void launch_norm(const CudaContext& context, const AdaptiveNormBackward& op, void* scratch);

}  // namespace lsd::backends::cuda
