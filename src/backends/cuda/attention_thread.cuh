// SPDX-License-Identifier: Apache-2.0
#pragma once
// A thread of a kernel, as the attention bodies use it. Members are callable from constexpr templates, which nvcc also
// compiles for the host: there they do nothing.

#include <cuda_bf16.h>

#include <cstdint>

#include "lsd/tensor/dtype.h"

namespace lsd::backends::cuda::attention {

extern __shared__ __align__(16) unsigned char attention_shared[];

class DeviceThread {
 public:
#ifdef __CUDA_ARCH__
  __host__ __device__ int index() const {
    return static_cast<int>(threadIdx.x);
  }
  __host__ __device__ int lane() const {
    return static_cast<int>(threadIdx.x % 32);
  }
  __host__ __device__ int warp() const {
    return static_cast<int>(threadIdx.x / 32);
  }
  __host__ __device__ int block() const {
    return static_cast<int>(blockIdx.x);
  }
  __host__ __device__ int num_blocks() const {
    return static_cast<int>(gridDim.x);
  }
  __host__ __device__ unsigned char* shared() const {
    return attention_shared;
  }
  __host__ __device__ void sync() const {
    __syncthreads();
  }
  __host__ __device__ void sync_warp() const {
    __syncwarp();
  }
  __host__ __device__ float shuffle_xor(float value, int mask) const {
    return __shfl_xor_sync(0xFFFFFFFFU, value, mask);
  }
  // Four 8 x 8 matrices; lane 8 m + r names row r of matrix m.
  template <bool kTransposed>
  __host__ __device__ void load_matrices(std::uint32_t (&words)[4], const BFloat16* row) const {
    const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
    if constexpr (kTransposed)
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                   : "r"(address)
                   : "memory");
    else
      asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                   : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                   : "r"(address)
                   : "memory");
  }
  // c [16, 8] += a [16, 16] b [16, 8]
  __host__ __device__ void multiply(float (&c)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                                    std::uint32_t b1) const {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  }
  // 16 bytes on their way to shared memory; zeros where not `valid`.
  __host__ __device__ void copy_chunk(BFloat16* to, const BFloat16* from, bool valid) const {
    const auto address = static_cast<std::uint32_t>(__cvta_generic_to_shared(to));
    const int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes) : "memory");
  }
  __host__ __device__ void wait_copies() const {
    asm volatile("cp.async.wait_all;" ::: "memory");
  }
  __host__ __device__ int take_number(std::int32_t* counter) const {
    return atomicAdd(counter, 1);
  }
  __host__ __device__ std::uint32_t pack(float low, float high) const {
    std::uint32_t word;  // the first source goes to the upper half
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    return word;
  }
  __host__ __device__ float larger(float a, float b) const {
    return fmaxf(a, b);
  }
  __host__ __device__ float exp2(float x) const {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
  }
  __host__ __device__ float log2(float x) const {
    return log2f(x);
  }
  __host__ __device__ double nearest(double x) const {
    return rint(x);
  }
  __host__ __device__ void sine_cosine_pi(float x, float& sine, float& cosine) const {
    sincospif(x, &sine, &cosine);
  }
#else
  __host__ __device__ int index() const {
    return 0;
  }
  __host__ __device__ int lane() const {
    return 0;
  }
  __host__ __device__ int warp() const {
    return 0;
  }
  __host__ __device__ int block() const {
    return 0;
  }
  __host__ __device__ int num_blocks() const {
    return 1;
  }
  __host__ __device__ unsigned char* shared() const {
    return nullptr;
  }
  __host__ __device__ void sync() const {}
  __host__ __device__ void sync_warp() const {}
  __host__ __device__ float shuffle_xor(float value, int) const {
    return value;
  }
  template <bool kTransposed>
  __host__ __device__ void load_matrices(std::uint32_t (&)[4], const BFloat16*) const {}
  __host__ __device__ void multiply(float (&)[4], const std::uint32_t (&)[4], std::uint32_t, std::uint32_t) const {}
  __host__ __device__ void copy_chunk(BFloat16*, const BFloat16*, bool) const {}
  __host__ __device__ void wait_copies() const {}
  __host__ __device__ int take_number(std::int32_t*) const {
    return 0;
  }
  __host__ __device__ std::uint32_t pack(float, float) const {
    return 0;
  }
  __host__ __device__ float larger(float a, float) const {
    return a;
  }
  __host__ __device__ float exp2(float x) const {
    return x;
  }
  __host__ __device__ float log2(float x) const {
    return x;
  }
  __host__ __device__ double nearest(double x) const {
    return x;
  }
  __host__ __device__ void sine_cosine_pi(float, float&, float&) const {}
#endif
};

}  // namespace lsd::backends::cuda::attention
