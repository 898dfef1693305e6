// SPDX-License-Identifier: Apache-2.0
#pragma once
// Kernels that several families launch. Host functions only, so that any file may include this.

#include "cuda_context_internal.h"
#include "launch_plans_internal.h"
#include "lsd/tensor/matrix_ops.h"

namespace lsd::backends::cuda {

// y = gelu(x): the one kernel behind GeluForward and a linear layer's activation, so that recomputing gives the same
// bits.
void launch_gelu(const CudaContext& context, ConstTensorView x, TensorView y, Gelu gelu);
// out = grad * gelu'(x); out may be grad.
void launch_gelu_slope(const CudaContext& context, ConstTensorView grad, ConstTensorView x, Gelu gelu, TensorView out);
// y = x in y's type.
void launch_cast(const CudaContext& context, ConstTensorView x, TensorView y);
// y[r, c] += bias[c].
void launch_add_bias(const CudaContext& context, TensorView y, ConstTensorView bias);

// out[c] += sum over b of partial[b * stride + c], b in order, c < columns.
void add_column_sums(const CudaContext& context, const float* partial, std::int64_t blocks, std::int64_t stride,
                     std::int64_t columns, float* out);
// out[c] += sum over rows of x[r, c]; `partial` has room for column_sum_blocks(rows, columns).blocks() * columns
// floats.
void launch_column_sum(const CudaContext& context, ConstTensorView x, float* partial, float* out);

// Partial sums by group: partial[b, g, c] = sum over rows r of block b with group[r] = g of
//   x[r, c] * (row_scale ? row_scale[r] : 1)       or, with `mean`, (x[r, c] - mean[g, c])^2.
// Negative groups are left out; a group beyond the last one is a fault.
struct GroupSums {
  ConstTensorView x;                 // [rows, width]
  const std::int32_t* row_group;     // [rows]
  const float* row_scale = nullptr;  // [rows]
  const float* mean = nullptr;       // [groups, width]
  std::int64_t groups = 1;
  float* partial = nullptr;               // [blocks, groups, width]
  std::int32_t* partial_count = nullptr;  // [blocks, groups] or absent
  FaultKind fault = FaultKind::group_outside_moments;
};
void launch_group_sums(const CudaContext& context, const GroupSums& sums);

inline std::size_t group_partial_bytes(std::int64_t rows, std::int64_t groups, std::int64_t width) {
  return scratch_line(static_cast<std::size_t>(group_sum_blocks(rows).blocks() * groups * width) * sizeof(float));
}

}  // namespace lsd::backends::cuda
