// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the families of the CUDA backend share, and one factory per family. Everything is launched into `stream`.
//
// Scratch: an op says in scratch_bytes(op) what it needs and takes it with ops.scratch_for(name, bytes). scratch_bytes
// is also asked where there is no GPU (a memory plan), so it depends on shapes and constants alone, never on the
// device. Nothing is allocated, and the host waits for nothing, inside launch().
//
// A kernel that meets data it cannot go on with writes a DeviceFault and goes on harmlessly; the backend's
// synchronize() throws it.

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <string>

#include "cuda_check_internal.h"
#include "lsd/tensor/backend.h"

namespace lsd::backends::cuda {

enum class FaultKind : std::uint32_t {
  none,
  token_outside_table,    // detail: the token
  group_outside_moments,  // detail: the group
  not_positive_definite,  // detail: the pivot's index
  sequence_too_long,      // detail: its length
};

struct Fault {
  FaultKind kind = FaultKind::none;
  std::uint32_t detail = 0;
};
// In host memory that the device writes while the host may read: one word, so that kind and detail belong together.
struct DeviceFault {
  std::uint64_t word = 0;
};

class Products;

struct CudaContext {
  OpContext& ops;
  cudaStream_t stream = nullptr;
  int device = 0;
  int multiprocessors = 132;              // of a H100 while planning without a device
  int compute_capability = 90;            // 10 * major + minor
  std::size_t shared_bytes = 227 * 1024;  // of one block, after cudaFuncAttributeMaxDynamicSharedMemorySize
  bool deterministic = false;             // same bits on every run: no atomics on floats, one plan per shape
  std::string attention = {};             // which attention kernel (BackendOptions)
  DeviceFault* fault = nullptr;           // as kernels see it
  Products* products = nullptr;           // owned by the backend
};

std::unique_ptr<MatrixOps> make_matrix_ops(CudaContext& context);
std::unique_ptr<NormOps> make_norm_ops(CudaContext& context);
std::unique_ptr<AttentionOps> make_attention_ops(CudaContext& context);
std::unique_ptr<PointwiseOps> make_pointwise_ops(CudaContext& context);
std::unique_ptr<RandomOps> make_random_ops(CudaContext& context);
std::unique_ptr<LossOps> make_loss_ops(CudaContext& context);
std::unique_ptr<ReduceOps> make_reduce_ops(CudaContext& context);
std::unique_ptr<OptimizerOps> make_optimizer_ops(CudaContext& context);

}  // namespace lsd::backends::cuda
