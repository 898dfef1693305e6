// SPDX-License-Identifier: Apache-2.0
#include "backends/reference/families_internal.h"
#include "cuda_context_internal.h"

namespace lsd::backends::cuda {

std::unique_ptr<AttentionOps> make_attention_ops(CudaContext& context) {
  return reference::make_attention_ops({context.ops});
}

}  // namespace lsd::backends::cuda
