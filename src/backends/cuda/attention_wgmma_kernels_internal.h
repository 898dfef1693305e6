// SPDX-License-Identifier: Apache-2.0
#pragma once
// The kernels of warp-group products, ready to be launched (attention_wgmma.cu). In code for other chips than compute
// capability 9.0 they are empty and must not be launched.

#include "attention_wgmma_setup_internal.h"

namespace lsd::backends::cuda {

struct WgmmaKernel {
  void (*kernel)(const attention::Problem<BFloat16>);
  int threads, shared_bytes, tile_rows;
};

WgmmaKernel wgmma_forward(std::int64_t head_width, attention::AttentionKernel kernel);
WgmmaKernel wgmma_backward(attention::Owner owner);
// Whether the kernels that the driver loaded have bodies. Needs a device.
bool wgmma_compiled();

}  // namespace lsd::backends::cuda
