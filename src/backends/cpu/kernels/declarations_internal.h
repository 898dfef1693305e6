// SPDX-License-Identifier: Apache-2.0
#pragma once
// The functions of the kernel table in the namespace of the instruction set being compiled: LSD_CPU_ISA is sse2, avx2
// or avx512, set by CMake per object library.

#include "kernels_internal.h"

namespace lsd::backends::cpu::LSD_CPU_ISA {

#if defined(__AVX512F__)
constexpr const char* kIsaName = "avx512";
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr const char* kIsaName = "avx2";
constexpr int kLanes = 8;
#else
constexpr const char* kIsaName = "sse2";
constexpr int kLanes = 4;
#endif

void widen(const std::uint16_t* x, float* y, std::int64_t count);
void narrow(const float* x, std::uint16_t* y, std::int64_t count);
void gelu(const float* x, float* y, std::int64_t count, GeluKind kind);
void gelu_backward(const float* grad_y, const float* x, float* grad_x, std::int64_t count, GeluKind kind);
void silu(const float* x, float* y, std::int64_t count);
void silu_backward(const float* grad_y, const float* x, float* grad_x, std::int64_t count);
void linear_combination(float a, const float* x, float b, const float* y, float* out, std::int64_t count);
void scale(float a, const float* x, float* out, std::int64_t count);
void add_scaled(float a, const float* x, float* sum, std::int64_t count);
void multiply(const float* x, const float* y, float* out, std::int64_t count);
void add_product(const float* x, const float* y, float* sum, std::int64_t count);
void affine(const float* x, const float* scales, const float* shift, float* y, std::int64_t count);
void cosines(float time, const double* turns_per_time, float* cosine, float* sine, std::int64_t count);
void norm(NormRow& row);
void norm_backward(const NormRowBackward& row);
void entropy(EntropyRow& row);
float squared_error(const float* x, const float* y, float factor, float* grad, std::int64_t count);
void add_squared_deviation(const float* x, const float* mean, float* sum, std::int64_t count);
void moment_gradient(float factor, const float* grad_in, const float* z, const float* mean, const float* offset,
                     const float* slope, float* grad_out, std::int64_t count);
float dot(const float* x, const float* y, std::int64_t count);
double sum_of_squares(const float* x, std::int64_t count);
void adamw(const AdamRange& range);
void normals(NormalKey key, std::uint32_t first_block, float* out, std::int64_t count);
std::int64_t attention_scratch(std::int64_t max_length, std::int64_t head_width, bool backward);
void attention_forward(const AttentionHead& head);
void attention_backward(const AttentionHead& head);

}  // namespace lsd::backends::cpu::LSD_CPU_ISA
