// SPDX-License-Identifier: Apache-2.0
#pragma once
// CUDA's device language for a C++ compiler, so that the very kernels of src/backends/cuda run on the host and are
// compared with the reference where there is no GPU. Blocks run one after the other; the threads of a block are fibers
// that change at barriers and shuffles. It shows wrong indices, forgotten writes and barriers that not all threads
// reach; it cannot show races, alignment faults or what the hardware's arithmetic does. Included before each translated
// file.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>

#define __global__
#define __device__
#define __forceinline__ inline
#define __shared__ static  // blocks run one after the other

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  dim3(unsigned its_x = 1, unsigned its_y = 1, unsigned its_z = 1) : x(its_x), y(its_y), z(its_z) {}  // NOLINT
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
inline float4 make_float4(float x, float y, float z, float w) {
  return {x, y, z, w};
}
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) {
  return {x, y, z, w};
}
inline uint2 make_uint2(unsigned x, unsigned y) {
  return {x, y};
}

// Of the fiber that runs now.
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emulated {

struct LaunchShape {
  dim3 grid, block;
  std::size_t shared_bytes = 0;
};
void launch(const LaunchShape& shape, const std::function<void()>& kernel);
void* dynamic_shared();
void block_barrier();
void warp_barrier();
std::uint64_t* warp_slots();  // 32 words that the lanes of a warp share
int lane();

template <class T>
T exchange(T value, int from_lane) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::memcpy(warp_slots() + lane(), &value, sizeof value);
  warp_barrier();
  T out;
  std::memcpy(&out, warp_slots() + from_lane, sizeof out);
  warp_barrier();
  return out;
}

}  // namespace emulated

inline void __syncthreads() {
  emulated::block_barrier();
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  return emulated::exchange(value, emulated::lane() ^ mask);
}
template <class T>
T __shfl_sync(unsigned, T value, int lane) {
  return emulated::exchange(value, lane);
}
inline unsigned __ballot_sync(unsigned, bool vote) {
  unsigned out = 0;
  emulated::warp_slots()[emulated::lane()] = vote ? 1 : 0;
  emulated::warp_barrier();
  for (int i = 0; i < 32; ++i) out |= static_cast<unsigned>(emulated::warp_slots()[i] & 1U) << i;
  emulated::warp_barrier();
  return out;
}
inline int __popc(unsigned x) {
  return __builtin_popcount(x);
}
inline float __uint_as_float(unsigned bits) {
  float out;
  std::memcpy(&out, &bits, sizeof out);
  return out;
}
inline float normcdff(float x) {
  return static_cast<float>(0.5 * std::erfc(-static_cast<double>(x) * M_SQRT1_2));
}
inline float sinpif(float x) {
  return static_cast<float>(std::sin(M_PI * static_cast<double>(x)));
}
inline float cospif(float x) {
  return static_cast<float>(std::cos(M_PI * static_cast<double>(x)));
}
inline void sincospif(float x, float* sine, float* cosine) {
  *sine = sinpif(x);
  *cosine = cospif(x);
}
using std::isfinite;
