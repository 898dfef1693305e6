// SPDX-License-Identifier: Apache-2.0
// The attention kernels of warp-group products: their bodies are in attention_wgmma_*_internal.h.
#include "attention_wgmma_kernels_internal.h"
#include "attention_wgmma_thread.cuh"
#include "cuda_check_internal.h"

namespace lsd::backends::cuda {
namespace {

using namespace attention;

template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocksAtOnce)
    wgmma_forward_kernel(const __grid_constant__ Problem<BFloat16> p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  WgmmaThread t;
  wgmma_forward_body<Shape>(t, p);
#endif
}

template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocksAtOnce)
    wgmma_backward_kernel(const __grid_constant__ Problem<BFloat16> p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  WgmmaThread t;
  wgmma_backward_body<Shape>(t, p);
#endif
}

template <class Shape>
WgmmaKernel backward_kernel() {
  return {wgmma_backward_kernel<Shape>, Shape::kThreads, Shape::kSharedBytes, Shape::kRows};
}

}  // namespace

WgmmaKernel wgmma_forward(std::int64_t head_width, AttentionKernel kernel) {
  return visit_wgmma_forward(head_width, kernel, []<class Shape>(ShapeTag<Shape>) {
    return WgmmaKernel{wgmma_forward_kernel<Shape>, Shape::kThreads, Shape::kSharedBytes, Shape::kRows};
  });
}

WgmmaKernel wgmma_backward(Owner owner) {
  return owner == Owner::keys ? backward_kernel<WgmmaBackwardShape<Owner::keys>>()
                              : backward_kernel<WgmmaBackwardShape<Owner::queries>>();
}

bool wgmma_compiled() {
  cudaFuncAttributes attributes{};
  check_cuda(cudaFuncGetAttributes(&attributes, wgmma_backward_kernel<WgmmaBackwardShape<Owner::keys>>),
             "ask for which chip attention's kernels were compiled");
  return attributes.ptxVersion >= 90;
}

}  // namespace lsd::backends::cuda
