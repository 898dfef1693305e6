// SPDX-License-Identifier: Apache-2.0
#pragma once
// A thread of a kernel that uses Hopper's warp-group matrix instructions: four warps that start at a multiple of four
// are a group, and all of them issue a product together. The order that the PTX ISA asks for:
//   copies to shared memory -> wait_copies, fence_copies by who copied, barrier -> product
//   registers written       -> fence_registers                                 -> product
//   products                -> commit_products, wait_products -> their results, registers and shared memory are free
// In code for other chips, and where the host compiles it, the members do nothing.

#include "attention_thread.cuh"
#include "attention_wgmma_instructions.cuh"

namespace lsd::backends::cuda::attention {

class WgmmaThread : public DeviceThread {
 public:
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  __host__ __device__ int group() const {
    return static_cast<int>(__shfl_sync(0xFFFFFFFFU, threadIdx.x / 128, 0));  // known to be the same in a warp
  }
  __host__ __device__ bool any(bool value) const {
    return __any_sync(0xFFFFFFFFU, value) != 0;
  }
  __host__ __device__ std::uint32_t shared_address(const void* pointer) const {
    return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
  }
  // Four bytes on their way to shared memory; zero where not `valid`.
  __host__ __device__ void copy_word(float* to, const float* from, bool valid) const {
    const int bytes = valid ? 4 : 0;
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes)
                 : "memory");
  }
  __host__ __device__ void fence_copies() const {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  __host__ __device__ void fence_registers() const {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
  }
  __host__ __device__ void commit_products() const {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
  }
  // All but the last kPending committed groups of products are done.
  template <int kPending>
  __host__ __device__ void wait_products() const {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
  }
  template <bool kByRows, int kBlocks, class A>
  __host__ __device__ void multiply_group(float (&d)[kBlocks][4], const A& a, std::uint64_t b, bool add) const {
    WgmmaInstructions::issue<kByRows>(d, a, b, add ? 1 : 0);
  }
  // The compiler does not know that products write registers later: it must not use these before this point.
  template <int kBlocks>
  __host__ __device__ void hold(float (&d)[kBlocks][4]) const {
#pragma unroll
    for (int n = 0; n < kBlocks; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) asm volatile("" : "+f"(d[n][e])::"memory");
  }
#else
  __host__ __device__ int group() const {
    return 0;
  }
  __host__ __device__ bool any(bool value) const {
    return value;
  }
  __host__ __device__ std::uint32_t shared_address(const void*) const {
    return 0;
  }
  __host__ __device__ void copy_word(float*, const float*, bool) const {}
  __host__ __device__ void fence_copies() const {}
  __host__ __device__ void fence_registers() const {}
  __host__ __device__ void commit_products() const {}
  template <int kPending>
  __host__ __device__ void wait_products() const {}
  template <bool kByRows, int kBlocks, class A>
  __host__ __device__ void multiply_group(float (&)[kBlocks][4], const A&, std::uint64_t, bool) const {}
  template <int kBlocks>
  __host__ __device__ void hold(float (&)[kBlocks][4]) const {}
#endif
};

}  // namespace lsd::backends::cuda::attention
