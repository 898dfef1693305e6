// SPDX-License-Identifier: Apache-2.0
#pragma once
// How kernels read and write tensors: N neighbouring elements at a time, as float32, by the widest loads there are. And
// sums over a warp or a block in a fixed order.

#include <cuda_bf16.h>

#include <cstdint>
#include <initializer_list>

#include "cuda_context_internal.h"
#include "launch_plans_internal.h"
#include "lsd/core/error.h"
#include "lsd/tensor/view.h"

namespace lsd::backends::cuda {

using Bf16 = __nv_bfloat16;

template <int kValue>
struct IntTag {
  static constexpr int value = kValue;
};

// body(TypeTag<float>{}) or body(TypeTag<Bf16>{}).
template <class Body>
decltype(auto) visit_type(DType type, Body&& body) {
  if (type == DType::bfloat16) return body(TypeTag<Bf16>{});
  return body(TypeTag<float>{});
}

inline bool aligned16(std::initializer_list<const void*> pointers) {
  for (const void* pointer : pointers)
    if (reinterpret_cast<std::uintptr_t>(pointer) % 16 != 0) return false;
  return true;
}

// The last one told of is the one that is seen.
__device__ inline void report(DeviceFault* fault, FaultKind kind, std::uint32_t detail) {
  *reinterpret_cast<volatile std::uint64_t*>(&fault->word) =
      std::uint64_t{detail} << 32U | static_cast<std::uint32_t>(kind);
}

// body(IntTag<8>{}) where rows of `width` elements can be read eight at a time, else body(IntTag<1>{}).
template <class Body>
decltype(auto) visit_vector(std::int64_t width, std::initializer_list<const void*> pointers, Body&& body) {
  if (width % 8 == 0 && aligned16(pointers)) return body(IntTag<8>{});
  return body(IntTag<1>{});
}

template <class T>
const T* pointer_to(ConstTensorView view) {
  return static_cast<const T*>(view.raw());
}
template <class T>
T* pointer_to(TensorView view) {
  return static_cast<T*>(view.raw());
}

template <int N>
__device__ __forceinline__ void load(const float* from, float (&to)[N]) {
  if constexpr (N == 1) {
    to[0] = from[0];
  } else {
    static_assert(N % 4 == 0);
#pragma unroll
    for (int q = 0; q < N / 4; ++q) {
      const float4 four = reinterpret_cast<const float4*>(from)[q];
      to[4 * q] = four.x;
      to[4 * q + 1] = four.y;
      to[4 * q + 2] = four.z;
      to[4 * q + 3] = four.w;
    }
  }
}

__device__ __forceinline__ void unpack(std::uint32_t pair, float& low, float& high) {
  low = __uint_as_float(pair << 16U);
  high = __uint_as_float(pair & 0xFFFF0000U);
}

__device__ __forceinline__ std::uint32_t pack(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return reinterpret_cast<const std::uint32_t&>(pair);
}

template <int N>
__device__ __forceinline__ void load(const Bf16* from, float (&to)[N]) {
  if constexpr (N == 1) {
    to[0] = __bfloat162float(from[0]);
  } else if constexpr (N == 4) {
    const uint2 two = *reinterpret_cast<const uint2*>(from);
    unpack(two.x, to[0], to[1]);
    unpack(two.y, to[2], to[3]);
  } else {
    static_assert(N == 8);
    const uint4 four = *reinterpret_cast<const uint4*>(from);
    unpack(four.x, to[0], to[1]);
    unpack(four.y, to[2], to[3]);
    unpack(four.z, to[4], to[5]);
    unpack(four.w, to[6], to[7]);
  }
}

template <int N>
__device__ __forceinline__ void store(float* to, const float (&from)[N]) {
  if constexpr (N == 1) {
    to[0] = from[0];
  } else {
    static_assert(N % 4 == 0);
#pragma unroll
    for (int q = 0; q < N / 4; ++q)
      reinterpret_cast<float4*>(to)[q] = make_float4(from[4 * q], from[4 * q + 1], from[4 * q + 2], from[4 * q + 3]);
  }
}

template <int N>
__device__ __forceinline__ void store(Bf16* to, const float (&from)[N]) {
  if constexpr (N == 1) {
    to[0] = __float2bfloat16_rn(from[0]);
  } else if constexpr (N == 4) {
    *reinterpret_cast<uint2*>(to) = make_uint2(pack(from[0], from[1]), pack(from[2], from[3]));
  } else {
    static_assert(N == 8);
    *reinterpret_cast<uint4*>(to) =
        make_uint4(pack(from[0], from[1]), pack(from[2], from[3]), pack(from[4], from[5]), pack(from[6], from[7]));
  }
}

// As the value will read after a store in T.
template <class T>
__device__ __forceinline__ float stored_as(float x) {
  if constexpr (sizeof(T) == 2) return __bfloat162float(__float2bfloat16_rn(x));
  return x;
}

template <class T>
__device__ __forceinline__ T warp_sum(T x) {
#pragma unroll
  for (int offset = kWarp / 2; offset > 0; offset /= 2) x += __shfl_xor_sync(0xFFFFFFFFU, x, offset);
  return x;
}

// Every thread of the block gets the sums of the K values. `shared` has room for K values per warp; calls that follow
// each other take two such pieces in turn, so that one barrier per call is enough.
template <int K, class T>
__device__ __forceinline__ void block_sum(T (&x)[K], T* shared) {
  const int warp = static_cast<int>(threadIdx.x) / kWarp, warps = static_cast<int>(blockDim.x) / kWarp;
#pragma unroll
  for (int k = 0; k < K; ++k) x[k] = warp_sum(x[k]);
  if (warps == 1) return;
  if (threadIdx.x % kWarp == 0)
#pragma unroll
    for (int k = 0; k < K; ++k) shared[warp * K + k] = x[k];
  __syncthreads();
#pragma unroll
  for (int k = 0; k < K; ++k) {
    T total = shared[k];
    for (int w = 1; w < warps; ++w) total += shared[w * K + k];
    x[k] = total;
  }
}

}  // namespace lsd::backends::cuda
