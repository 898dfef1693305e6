// SPDX-License-Identifier: Apache-2.0
// Tiles of 32 x 32; one block of 32 x 32 threads works on a tile, thread (x, y) on column x of row y.
#include "cholesky_internal.h"
#include "device_values.cuh"
#include "shared_kernels_internal.h"

namespace lsd::backends::cuda {
namespace {

const dim3 kTileThreads(kTile, kTile);

using Tile = float[kTile][kTile + 1];  // one column more than used keeps the columns in different banks

// The diagonal tile `k`: its factor in place (0 above the diagonal), and that factor's inverse.
__global__ void __launch_bounds__(kTile* kTile)
    diagonal_kernel(float* matrix, std::int64_t d, std::int64_t k, float* inverse, DeviceFault* fault) {
  __shared__ Tile tile, inverted;
  const auto x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  float* at = matrix + (k * kTile + y) * d + k * kTile + x;
  tile[y][x] = *at;
  for (int j = 0; j < kTile; ++j) {
    __syncthreads();
    float pivot = tile[j][j];
    __syncthreads();  // every thread has read the pivot before its owner writes the root
    if (!(pivot > 0.0F)) {
      if (x == 0 && y == 0) report(fault, FaultKind::not_positive_definite, static_cast<std::uint32_t>(k));
      pivot = 1.0F;
    }
    const float root = sqrtf(pivot);
    if (x == j && y >= j) tile[y][j] = y == j ? root : tile[y][j] / root;
    __syncthreads();
    if (x > j && y >= x) tile[y][x] -= tile[y][j] * tile[x][j];
  }
  __syncthreads();
  inverted[y][x] = 0.0F;
  __syncthreads();
  if (y == 0)  // thread x solves for column x, downwards
    for (int i = x; i < kTile; ++i) {
      float sum = i == x ? 1.0F : 0.0F;
      for (int m = x; m < i; ++m) sum -= tile[i][m] * inverted[m][x];
      inverted[i][x] = sum / tile[i][i];
    }
  __syncthreads();
  *at = x <= y ? tile[y][x] : 0.0F;
  inverse[(k * kTile + y) * kTile + x] = inverted[y][x];
}

// Below the diagonal tile: L_ik = A_ik L_kk^-T, i = k + 1 + block.
__global__ void __launch_bounds__(kTile* kTile)
    panel_kernel(float* matrix, std::int64_t d, std::int64_t k, const float* inverse) {
  __shared__ Tile tile, inverted;
  const auto x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  float* at = matrix + ((k + 1 + blockIdx.x) * kTile + y) * d + k * kTile + x;
  tile[y][x] = *at;
  inverted[y][x] = inverse[(k * kTile + y) * kTile + x];
  __syncthreads();
  float sum = 0.0F;
#pragma unroll
  for (int m = 0; m < kTile; ++m) sum += tile[y][m] * inverted[x][m];
  *at = sum;
}

// What is left: A_ij -= L_ik L_jk^T for the tiles i >= j > k.
__global__ void __launch_bounds__(kTile* kTile) trailing_kernel(float* matrix, std::int64_t d, std::int64_t k) {
  __shared__ Tile left, right;
  const auto x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const auto place = triangle_tile(blockIdx.x);
  const auto i = k + 1 + place.row, j = k + 1 + place.column;
  left[y][x] = matrix[(i * kTile + y) * d + k * kTile + x];
  right[y][x] = matrix[(j * kTile + y) * d + k * kTile + x];
  __syncthreads();
  float sum = 0.0F;
#pragma unroll
  for (int m = 0; m < kTile; ++m) sum += left[y][m] * right[x][m];
  matrix[(i * kTile + y) * d + j * kTile + x] -= sum;
}

// Column j = block of tiles of X = L^-1: X_jj = L_jj^-1 and, downwards, X_ij = -L_ii^-1 sum over j <= k < i of L_ik
// X_kj.
__global__ void __launch_bounds__(kTile* kTile)
    invert_kernel(const float* factor, const float* diagonal, std::int64_t d, float* inverse) {
  __shared__ Tile left, right;
  const auto x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const std::int64_t j = blockIdx.x, tiles = d / kTile;
  const auto at = [&](std::int64_t row, std::int64_t column) { return (row * kTile + y) * d + column * kTile + x; };
  for (std::int64_t i = 0; i < j; ++i) inverse[at(i, j)] = 0.0F;
  inverse[at(j, j)] = diagonal[(j * kTile + y) * kTile + x];
  for (auto i = j + 1; i < tiles; ++i) {
    float sum = 0.0F;
    for (auto k = j; k < i; ++k) {
      __syncthreads();
      left[y][x] = factor[at(i, k)];
      right[y][x] = inverse[at(k, j)];  // this very thread wrote it
      __syncthreads();
#pragma unroll
      for (int m = 0; m < kTile; ++m) sum += left[y][m] * right[m][x];
    }
    __syncthreads();
    left[y][x] = diagonal[(i * kTile + y) * kTile + x];
    right[y][x] = sum;
    __syncthreads();
    float made = 0.0F;
#pragma unroll
    for (int m = 0; m < kTile; ++m) made -= left[y][m] * right[m][x];
    inverse[at(i, j)] = made;
  }
}

}  // namespace

void launch_cholesky(const CudaContext& context, float* matrix, std::int64_t d, float* diagonal) {
  const auto tiles = d / kTile;
  for (std::int64_t k = 0; k < tiles; ++k) {
    diagonal_kernel<<<1, kTileThreads, 0, context.stream>>>(matrix, d, k, diagonal, context.fault);
    const auto below = tiles - k - 1;
    if (below == 0) continue;
    panel_kernel<<<static_cast<unsigned>(below), kTileThreads, 0, context.stream>>>(matrix, d, k, diagonal);
    trailing_kernel<<<static_cast<unsigned>(below * (below + 1) / 2), kTileThreads, 0, context.stream>>>(matrix, d, k);
  }
  check_launch("Cholesky factor");
}

void launch_invert_lower(const CudaContext& context, const float* factor, const float* diagonal, std::int64_t d,
                         float* inverse) {
  invert_kernel<<<static_cast<unsigned>(d / kTile), kTileThreads, 0, context.stream>>>(factor, diagonal, d, inverse);
  check_launch("inverse of a Cholesky factor");
}

}  // namespace lsd::backends::cuda
