// SPDX-License-Identifier: Apache-2.0
// Launches of the attention kernels: their bodies are in attention_*_internal.h.
#include <algorithm>
#include <cstdlib>
#include <map>

#include "attention_setup_internal.h"
#include "attention_thread.cuh"
#include "attention_wgmma_kernels_internal.h"
#include "cuda_context_internal.h"

namespace lsd::backends::cuda {
namespace {

using namespace attention;

template <class T>
__global__ void __launch_bounds__(kPrepareThreads) prepare_kernel(const __grid_constant__ Problem<T> p, bool backward) {
  DeviceThread t;
  prepare_body(t, p, backward);
}

template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads) forward_kernel(const __grid_constant__ Problem<BFloat16> p) {
  DeviceThread t;
  forward_body<Shape>(t, p);
}

template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads) backward_kernel(const __grid_constant__ Problem<BFloat16> p) {
  DeviceThread t;
  backward_body<Shape>(t, p);
}

template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads) plain_forward_kernel(const __grid_constant__ Problem<float> p) {
  DeviceThread t;
  plain_forward_body<Shape>(t, p);
}

template <class Shape, Owner kOwner>
__global__ void __launch_bounds__(Shape::kThreads) plain_backward_kernel(const __grid_constant__ Problem<float> p) {
  DeviceThread t;
  plain_backward_body<Shape, kOwner>(t, p);
}

std::string asked_kernel(const CudaContext& context) {
  const char* variable = std::getenv("LSD_CUDA_ATTENTION");
  return context.attention.empty() && variable != nullptr ? variable : context.attention;
}

// Without a device there is only a plan, of what a H100 would run.
bool has_wgmma(const CudaContext& context) {
  return context.compute_capability == 90 && (context.stream == nullptr || wgmma_compiled());
}

class CudaAttentionOps : public AttentionOps {
 public:
  explicit CudaAttentionOps(CudaContext& context)
      : AttentionOps(context.ops),
        context_(context),
        kernel_(attention_kernel(asked_kernel(context), context.compute_capability, has_wgmma(context))) {}

 private:
  std::size_t scratch_bytes(const AttentionForward& op) const override {
    return static_cast<std::size_t>(scratch_plan(op.qkv, op.layout, op.heads, false).total);
  }
  std::size_t scratch_bytes(const AttentionBackward& op) const override {
    return static_cast<std::size_t>(scratch_plan(op.qkv, op.layout, op.heads, true).total);
  }
  void launch(const AttentionForward& op) override;
  void launch(const AttentionBackward& op) override;

  template <class T>
  void prepare(const Problem<T>& p, bool backward);
  // Runs a kernel with as many blocks as fit on the device at once: they take tasks until none is left.
  template <class Shape, class T>
  void start(void (*kernel)(const Problem<T>), const Problem<T>& p) {
    start(kernel, Shape::kThreads, Shape::kSharedBytes, p);
  }
  template <class T>
  void start(void (*kernel)(const Problem<T>), int threads, int shared_bytes, const Problem<T>& p);
  void run_bfloat16(const AttentionForward& op, void* scratch);
  void run_bfloat16(const AttentionBackward& op, void* scratch);
  int resident_blocks(const void* kernel, int threads, int shared_bytes);

  CudaContext& context_;
  AttentionKernel kernel_;
  std::map<const void*, int> resident_blocks_;  // asked of the driver at a kernel's first launch
};

int CudaAttentionOps::resident_blocks(const void* kernel, int threads, int shared_bytes) {
  const auto [found, is_new] = resident_blocks_.try_emplace(kernel, 0);
  if (!is_new) return found->second;
  if (static_cast<std::size_t>(shared_bytes) > context_.shared_bytes)
    throw SystemError("attention needs " + std::to_string(shared_bytes) +
                      " bytes of shared memory in a block; this GPU has " + std::to_string(context_.shared_bytes));
  check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
             "reserve shared memory for attention");
  int blocks = 0;
  check_cuda(
      cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, static_cast<std::size_t>(shared_bytes)),
      "ask how many attention blocks run at once");
  return found->second = std::max(1, blocks) * context_.multiprocessors;
}

template <class T>
void CudaAttentionOps::prepare(const Problem<T>& p, bool backward) {
  constexpr int kBlocksPerMultiprocessor = 8;  // what fits with 256 threads
  const auto most = std::int64_t{p.rows} * p.heads / 32 + 1;
  const auto blocks = 1 + std::clamp<std::int64_t>(most, 1, kBlocksPerMultiprocessor * context_.multiprocessors - 1);
  prepare_kernel<T>
      <<<static_cast<unsigned>(blocks), kPrepareThreads, 4 * (kPrepareThreads + 1), context_.stream>>>(p, backward);
  check_launch("attention's preparation");
}

template <class T>
void CudaAttentionOps::start(void (*kernel)(const Problem<T>), int threads, int shared_bytes, const Problem<T>& p) {
  const auto resident = resident_blocks(reinterpret_cast<const void*>(kernel), threads, shared_bytes);
  const auto most = tile_bound(p.rows, p.max_sequences, p.tile_rows) * p.heads;
  const auto blocks = static_cast<unsigned>(std::clamp<std::int64_t>(most, 1, resident));
  kernel<<<blocks, static_cast<unsigned>(threads), static_cast<std::size_t>(shared_bytes), context_.stream>>>(p);
  check_launch("attention");
}

void CudaAttentionOps::run_bfloat16(const AttentionForward& op, void* scratch) {
  auto p = make_problem<BFloat16>(op, scratch);
  if (kernel_ != AttentionKernel::mma && wgmma_takes_forward(p)) {
    const auto found = wgmma_forward(p.head_width, kernel_);
    p.tile_rows = found.tile_rows;
    prepare(p, false);
    start(found.kernel, found.threads, found.shared_bytes, p);
    return;
  }
  prepare(p, false);
  visit_head_width(p.head_width, [&](auto width) {
    using Shape = ForwardShape<width.value>;
    start<Shape>(forward_kernel<Shape>, p);
  });
}

void CudaAttentionOps::launch(const AttentionForward& op) {
  void* scratch = context_.ops.scratch_for("AttentionForward", scratch_bytes(op));
  if (op.qkv.dtype() == DType::bfloat16) return run_bfloat16(op, scratch);
  const auto p = make_problem<float>(op, scratch);
  prepare(p, false);
  visit_head_width(p.head_width, [&](auto width) {
    using Shape = PlainShape<width.value>;
    start<Shape>(plain_forward_kernel<Shape>, p);
  });
}

void CudaAttentionOps::run_bfloat16(const AttentionBackward& op, void* scratch) {
  auto p = make_problem<BFloat16>(op, scratch);
  if (kernel_ != AttentionKernel::mma && wgmma_takes_backward(p)) {
    const auto keys = wgmma_backward(Owner::keys), queries = wgmma_backward(Owner::queries);
    p.tile_rows = keys.tile_rows;
    prepare(p, true);
    start(keys.kernel, keys.threads, keys.shared_bytes, p);
    start(queries.kernel, queries.threads, queries.shared_bytes, p);
    return;
  }
  prepare(p, true);
  visit_head_width(p.head_width, [&](auto width) {
    using Keys = BackwardShape<width.value, Owner::keys>;
    using Queries = BackwardShape<width.value, Owner::queries>;
    start<Keys>(backward_kernel<Keys>, p);
    start<Queries>(backward_kernel<Queries>, p);
  });
}

void CudaAttentionOps::launch(const AttentionBackward& op) {
  void* scratch = context_.ops.scratch_for("AttentionBackward", scratch_bytes(op));
  if (op.qkv.dtype() == DType::bfloat16) return run_bfloat16(op, scratch);
  const auto p = make_problem<float>(op, scratch);
  prepare(p, true);
  visit_head_width(p.head_width, [&](auto width) {
    using Shape = PlainShape<width.value>;
    start<Shape>(plain_backward_kernel<Shape, Owner::keys>, p);
    start<Shape>(plain_backward_kernel<Shape, Owner::queries>, p);
  });
}

}  // namespace

std::unique_ptr<AttentionOps> make_attention_ops(CudaContext& context) {
  return std::make_unique<CudaAttentionOps>(context);
}

}  // namespace lsd::backends::cuda
