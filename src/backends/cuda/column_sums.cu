// SPDX-License-Identifier: Apache-2.0
// Sums down the columns, over all rows or by group of rows, in two stages: blocks of rows leave partial sums, which are
// then added in the order of the blocks.
#include "device_values.cuh"
#include "shared_kernels_internal.h"

namespace lsd::backends::cuda {
namespace {

constexpr int kSlices = 32;  // of the blocks' partial sums, added side by side
constexpr int kRowWarps = 8;

// 32 columns per block; slice y adds blocks y, y + 32, ..., then the slices are added in order.
__global__ void __launch_bounds__(kSlices* kWarp)
    add_column_sums_kernel(const float* partial, std::int64_t blocks, std::int64_t stride, std::int64_t columns,
                           float* out) {
  __shared__ float slices[kSlices][kWarp];
  const std::int64_t c = std::int64_t{blockIdx.x} * kWarp + threadIdx.x;
  float sum = 0.0F;
  if (c < columns) {
#pragma unroll 8
    for (std::int64_t b = threadIdx.y; b < blocks; b += kSlices) sum += partial[b * stride + c];
  }
  slices[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || c >= columns) return;
  for (int s = 1; s < kSlices; ++s) sum += slices[s][threadIdx.x];
  out[c] += sum;
}

// Block (x, y): columns of slab x, rows of block y. Eight warps take the rows in turn and are then added in order.
template <int N, class X>
__global__ void column_sum_kernel(const X* x, RowBlocks blocks, std::int64_t columns, float* partial) {
  __shared__ float warps[kRowWarps][kWarp * N];
  const std::int64_t c = (std::int64_t{blockIdx.x} * kWarp + threadIdx.x) * N;
  float sum[N] = {};
  if (c < columns) {
    const auto end = blocks.end(blockIdx.y);
#pragma unroll 4
    for (auto row = blocks.begin(blockIdx.y) + threadIdx.y; row < end; row += kRowWarps) {
      float value[N];
      load<N>(x + row * columns + c, value);
#pragma unroll
      for (int k = 0; k < N; ++k) sum[k] += value[k];
    }
  }
#pragma unroll
  for (int k = 0; k < N; ++k) warps[threadIdx.y][k * kWarp + threadIdx.x] = sum[k];
  __syncthreads();
  if (threadIdx.y != 0 || c >= columns) return;
#pragma unroll
  for (int k = 0; k < N; ++k)
    for (int w = 1; w < kRowWarps; ++w) sum[k] += warps[w][k * kWarp + threadIdx.x];
  store<N>(partial + blockIdx.y * columns + c, sum);
}

struct GroupArguments {
  RowBlocks blocks;
  std::int64_t width;
  const std::int32_t* row_group;
  const float *row_scale, *mean;
  std::int32_t groups;
  float* partial;
  std::int32_t* partial_count;
  DeviceFault* fault;
  FaultKind fault_kind;
};

// One warp per block, N columns per lane. A lane alone adds to its columns in shared memory, row after row.
template <int N, class X>
__global__ void __launch_bounds__(kWarp) group_sum_kernel(GroupArguments a, const X* x) {
  extern __shared__ float sums[];  // [groups, N, 32]
  const auto lane = static_cast<int>(threadIdx.x);
  const std::int64_t c = (std::int64_t{blockIdx.x} * kWarp + lane) * N;
  const bool active = c < a.width;
  for (int i = 0; i < a.groups * N; ++i) sums[i * kWarp + lane] = 0.0F;
  const bool counts = a.partial_count != nullptr && blockIdx.x == 0;
  std::int32_t* count = counts ? a.partial_count + std::int64_t{blockIdx.y} * a.groups : nullptr;
  if (counts)
    for (int g = lane; g < a.groups; g += kWarp) count[g] = 0;
  const auto end = a.blocks.end(blockIdx.y);
  for (auto first = a.blocks.begin(blockIdx.y); first < end; first += kWarp) {
    std::int32_t group_of_lane = first + lane < end ? a.row_group[first + lane] : -1;
    if (group_of_lane >= a.groups) {
      report(a.fault, a.fault_kind, static_cast<std::uint32_t>(group_of_lane));
      group_of_lane = -1;
    }
    const float scale_of_lane = a.row_scale != nullptr && first + lane < end ? a.row_scale[first + lane] : 1.0F;
    if (counts)
      for (int g = 0; g < a.groups; ++g) {
        const int here = __popc(__ballot_sync(0xFFFFFFFFU, group_of_lane == g));
        if (lane == g % kWarp) count[g] += here;
      }
    constexpr int kTogether = 4;  // rows whose loads are under way at once
    for (int j = 0; j < kWarp; j += kTogether) {
      float value[kTogether][N];
      std::int32_t group[kTogether];
#pragma unroll
      for (int u = 0; u < kTogether; ++u) {
        group[u] = __shfl_sync(0xFFFFFFFFU, group_of_lane, j + u);
        if (group[u] >= 0 && active) load<N>(x + (first + j + u) * a.width + c, value[u]);
      }
#pragma unroll
      for (int u = 0; u < kTogether; ++u) {
        const float scale = __shfl_sync(0xFFFFFFFFU, scale_of_lane, j + u);
        if (group[u] < 0 || !active) continue;
        float mean[N] = {};
        if (a.mean != nullptr) load<N>(a.mean + group[u] * a.width + c, mean);
#pragma unroll
        for (int k = 0; k < N; ++k) {
          const float centred = value[u][k] - mean[k];
          sums[(group[u] * N + k) * kWarp + lane] += a.mean != nullptr ? centred * centred : value[u][k] * scale;
        }
      }
    }
  }
  if (!active) return;
  for (int g = 0; g < a.groups; ++g) {
    float total[N];
#pragma unroll
    for (int k = 0; k < N; ++k) total[k] = sums[(g * N + k) * kWarp + lane];
    store<N>(a.partial + (std::int64_t{blockIdx.y} * a.groups + g) * a.width + c, total);
  }
}

}  // namespace

void add_column_sums(const CudaContext& context, const float* partial, std::int64_t blocks, std::int64_t stride,
                     std::int64_t columns, float* out) {
  if (blocks == 0 || columns == 0) return;
  add_column_sums_kernel<<<static_cast<unsigned>(ceil_div(columns, kWarp)), dim3(kWarp, kSlices), 0, context.stream>>>(
      partial, blocks, stride, columns, out);
  check_launch("sum of partial sums");
}

void launch_column_sum(const CudaContext& context, ConstTensorView x, float* partial, float* out) {
  const auto rows = x.shape()[0], columns = x.shape()[1];
  if (rows == 0 || columns == 0) return;
  const auto cut = column_sum_blocks(rows, columns);
  visit_vector(columns, {x.raw(), partial}, [&]<int N>(IntTag<N>) {
    visit_type(x.dtype(), [&]<class X>(TypeTag<X>) {
      const dim3 grid(static_cast<unsigned>(ceil_div(columns, kWarp * N)), static_cast<unsigned>(cut.blocks()));
      column_sum_kernel<N>
          <<<grid, dim3(kWarp, kRowWarps), 0, context.stream>>>(pointer_to<X>(x), cut, columns, partial);
    });
  });
  check_launch("sum over rows");
  add_column_sums(context, partial, cut.blocks(), columns, columns, out);
}

void launch_group_sums(const CudaContext& context, const GroupSums& sums) {
  const auto rows = sums.x.shape()[0], width = sums.x.shape()[1];
  const auto cut = group_sum_blocks(rows);
  const GroupArguments arguments{.blocks = cut,
                                 .width = width,
                                 .row_group = sums.row_group,
                                 .row_scale = sums.row_scale,
                                 .mean = sums.mean,
                                 .groups = static_cast<std::int32_t>(sums.groups),
                                 .partial = sums.partial,
                                 .partial_count = sums.partial_count,
                                 .fault = context.fault,
                                 .fault_kind = sums.fault};
  visit_vector(width, {sums.x.raw(), sums.mean, sums.partial}, [&]<int N>(IntTag<N>) {
    const auto shared = static_cast<std::size_t>(sums.groups * N * kWarp) * sizeof(float);
    check(shared <= 48 * 1024, "sums by group have 48 groups at most");
    visit_type(sums.x.dtype(), [&]<class X>(TypeTag<X>) {
      const dim3 grid(static_cast<unsigned>(ceil_div(width, kWarp * N)), static_cast<unsigned>(cut.blocks()));
      group_sum_kernel<N><<<grid, kWarp, shared, context.stream>>>(arguments, pointer_to<X>(sums.x));
    });
  });
  check_launch("sums by group");
}

}  // namespace lsd::backends::cuda
