// SPDX-License-Identifier: Apache-2.0
#include "device_values.cuh"
#include "products_internal.h"

namespace lsd::backends::cuda {
namespace {

struct PlainArguments {
  std::int64_t m, n, k, a_row, a_column, b_row, b_column;  // element (i, j) of op(a) stands at i * a_row + j * a_column
  float alpha, beta;
};

template <class T>
__device__ __forceinline__ float value_at(const T* from, std::int64_t i) {
  float value[1];
  load<1>(from + i, value);
  return value[0];
}

template <class T, class D>
__global__ void __launch_bounds__(kTile* kTile) plain_product_kernel(PlainArguments p, const T* a, const T* b, D* d) {
  __shared__ float tile_a[kTile][kTile + 1], tile_b[kTile][kTile + 1];
  const auto x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const std::int64_t row = std::int64_t{blockIdx.y} * kTile + y, column = std::int64_t{blockIdx.x} * kTile + x;
  float sum = 0.0F;
  for (std::int64_t begin = 0; begin < p.k; begin += kTile) {
    tile_a[y][x] = row < p.m && begin + x < p.k ? value_at(a, row * p.a_row + (begin + x) * p.a_column) : 0.0F;
    tile_b[y][x] = begin + y < p.k && column < p.n ? value_at(b, (begin + y) * p.b_row + column * p.b_column) : 0.0F;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kTile; ++i) sum += tile_a[y][i] * tile_b[i][x];
    __syncthreads();
  }
  if (row >= p.m || column >= p.n) return;
  float out[1] = {p.alpha * sum};
  if (p.beta != 0.0F) out[0] += p.beta * value_at(d, row * p.n + column);
  store<1>(d + row * p.n + column, out);
}

}  // namespace

void launch_plain_product(const CudaContext& context, const Product& p) {
  const PlainArguments arguments{.m = p.m,
                                 .n = p.n,
                                 .k = p.k,
                                 .a_row = p.a_transposed ? 1 : p.k,
                                 .a_column = p.a_transposed ? p.m : 1,
                                 .b_row = p.b_transposed ? 1 : p.n,
                                 .b_column = p.b_transposed ? p.k : 1,
                                 .alpha = p.alpha,
                                 .beta = p.beta};
  const auto row_tiles = ceil_div(p.m, kTile);
  check(row_tiles <= 65535, "a plain product has at most two million rows");
  const dim3 grid(static_cast<unsigned>(ceil_div(p.n, kTile)), static_cast<unsigned>(row_tiles));
  visit_type(p.a.dtype(), [&]<class T>(TypeTag<T>) {
    visit_type(p.d.dtype(), [&]<class D>(TypeTag<D>) {
      plain_product_kernel<<<grid, dim3(kTile, kTile), 0, context.stream>>>(arguments, pointer_to<T>(p.a),
                                                                            pointer_to<T>(p.b), pointer_to<D>(p.d));
    });
  });
  check_launch("plain product");
}

}  // namespace lsd::backends::cuda
