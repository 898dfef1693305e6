// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which problems the warp-group kernels take, and in which shape. Host code without CUDA.

#include "attention_setup_internal.h"
#include "attention_wgmma_backward_internal.h"
#include "attention_wgmma_forward_internal.h"

namespace lsd::backends::cuda::attention {

// What multiplies in bfloat16. mma: mma.sync, on every GPU. The others are warp-group products, which compute
// capability 9.0 alone has; they differ in the forward pass at head widths to 64. wgmma: tiles of 128 queries and 64
// keys, two blocks on a multiprocessor; wgmma_wide: 192 and 128, one block. Which is faster on which lengths only a GPU
// can tell.
enum class AttentionKernel { mma, wgmma, wgmma_wide };

// By name; empty: the best for the GPU. `wgmma_compiled`: whether what the driver loaded is code for compute capability
// 9.0 itself and not what it made of PTX for older ones.
inline AttentionKernel attention_kernel(const std::string& name, int compute_capability, bool wgmma_compiled) {
  const bool has_wgmma = compute_capability == 90 && wgmma_compiled;
  if (name.empty()) return has_wgmma ? AttentionKernel::wgmma : AttentionKernel::mma;
  if (name == "mma") return AttentionKernel::mma;
  if (name != "wgmma" && name != "wgmma_wide")
    throw UserError("attention kernel '" + name + "' (LSD_CUDA_ATTENTION): there are mma, wgmma and wgmma_wide");
  if (compute_capability == 90 && !wgmma_compiled)
    throw UserError("attention kernel '" + name +
                    "' needs code built for sm_90a, but the driver runs what it compiled from older PTX (a build for "
                    "other chips, or CUDA_FORCE_PTX_JIT); leave LSD_CUDA_ATTENTION unset");
  if (!has_wgmma)
    throw UserError("attention kernel '" + name + "' needs a GPU of compute capability 9.0, this one has " +
                    std::to_string(compute_capability / 10) + "." + std::to_string(compute_capability % 10) +
                    "; leave LSD_CUDA_ATTENTION unset");
  return name == "wgmma" ? AttentionKernel::wgmma : AttentionKernel::wgmma_wide;
}

template <class Shape>
struct ShapeTag {};

// Narrower heads leave the products idle while powers of two are taken, so they stay with mma.sync; heads that are not
// copied by 16 bytes stay too.
inline bool wgmma_takes_forward(const Problem<BFloat16>& p) {
  return p.wide && p.head_width > 32;
}

// Pairs that turn are in one lane's registers only if heads fill the tile.
inline bool wgmma_takes_backward(const Problem<BFloat16>& p) {
  return p.wide && p.head_width == 64;
}
static_assert(WgmmaBackwardShape<Owner::keys>::kRows == WgmmaBackwardShape<Owner::queries>::kRows &&
                  WgmmaBackwardShape<Owner::keys>::kRows >= BackwardShape<64, Owner::keys>::kRows,
              "one list of tiles serves both, and fits where the scratch plan put it");

// Calls body(ShapeTag<Shape>{}). The scratch plan counts on tiles that are no smaller than the other kernel's.
template <class Body>
decltype(auto) visit_wgmma_forward(std::int64_t head_width, AttentionKernel kernel, Body&& body) {
  using Narrow = WgmmaForwardShape<64, 2, 64, 2>;
  using Wide = WgmmaForwardShape<64, 3, 128, 1>;
  using Broad = WgmmaForwardShape<128, 2, 64, 1>;
  static_assert(Narrow::kRows >= ForwardShape<64>::kRows && Wide::kRows >= ForwardShape<64>::kRows &&
                Broad::kRows >= ForwardShape<128>::kRows);
  if (head_width > 64) return body(ShapeTag<Broad>{});
  return kernel == AttentionKernel::wgmma_wide ? body(ShapeTag<Wide>{}) : body(ShapeTag<Narrow>{});
}

}  // namespace lsd::backends::cuda::attention
