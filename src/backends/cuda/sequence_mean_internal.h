// SPDX-License-Identifier: Apache-2.0
#pragma once
// Means over the counted rows of each sequence.

#include "cuda_context_internal.h"

namespace lsd::backends::cuda {

std::size_t sequence_mean_scratch_bytes(const SequenceMean& op);
void launch_sequence_mean(const CudaContext& context, const SequenceMean& op, void* scratch);

}  // namespace lsd::backends::cuda
