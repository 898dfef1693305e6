// SPDX-License-Identifier: Apache-2.0
#pragma once
// The vector loops of the CPU backend, compiled once per instruction set (see CMakeLists.txt) and chosen at run time.
// Every function is serial and works on float32 memory; threads, element types and shapes are the callers' business.
// Files in this folder are compiled with instructions that the machine may lack, so they must not define anything that
// the linker could share with other code: no inline function or template of other headers, only what stands in the
// per-instruction-set namespace. A test looks for weak symbols in their objects.

#include <cstdint>

namespace lsd::backends::cpu {

enum class GeluKind : std::int32_t { erf, tanh };

// One row of a layer norm. Absent operands are null. y = (sum - mean) inv_std (gain + gain_offset) + bias,
// sum = x + gate * delta.
struct NormRow {
  const float *x, *delta, *gate, *gain, *bias;
  float *sum, *y;  // sum may be null when delta is
  float gain_offset, epsilon;
  std::int64_t width;
  bool round_sum;       // the sum is stored as bfloat16: statistics are those of what is stored
  float mean, inv_std;  // results
};

struct NormRowBackward {
  const float *grad_y, *sum, *gain, *grad_sum;
  float *grad_x, *grad_gain, *grad_bias;  // the last two are accumulated, or null
  float gain_offset, mean, inv_std;
  std::int64_t width;
};

struct EntropyRow {
  const float* logits;
  float* grad;  // or null
  std::int64_t vocab;
  std::int32_t target;
  float factor;   // scale * weight, multiplies the gradient
  float entropy;  // result
  bool correct;   // result
};

struct AdamRange {
  const float* grad;
  const std::uint8_t* decay_blocks;      // of 64 elements
  float *master, *first, *second, *ema;  // ema may be null
  std::int64_t count;                    // a multiple of 64
  float scale, beta1, beta2, rate, inv_bias1, inv_bias2, epsilon, weight_decay, ema_step;
};

struct NormalKey {
  std::uint32_t seed, stream, visit_low, visit_high, draw;
};

// One head of one sequence. Strides count elements between rows. q, k, v and their gradients are float32 in the
// caller's buffers when the tensors are not.
struct AttentionHead {
  const float *q, *k, *v;  // [length, head_width]
  std::int64_t qkv_stride, out_stride;
  std::int64_t length, head_width;
  const float *cosine, *sine;        // [positions, head_width / 2]
  const std::int32_t* position;      // [length]
  float* out;                        // forward
  float* log_sum_exp;                // [length]; written forward when not null, read backward
  const float *grad_out, *out_read;  // backward
  float *grad_q, *grad_k, *grad_v;
  float* scratch;  // attention_scratch() floats, 64-byte aligned
};

struct Kernels {
  const char* name;  // "avx512", "avx2", "sse2"

  void (*widen)(const std::uint16_t* x, float* y, std::int64_t count);   // bfloat16 -> float32
  void (*narrow)(const float* x, std::uint16_t* y, std::int64_t count);  // float32 -> bfloat16, nearest even
  void (*gelu)(const float* x, float* y, std::int64_t count, GeluKind kind);
  void (*gelu_backward)(const float* grad_y, const float* x, float* grad_x, std::int64_t count, GeluKind kind);
  void (*silu)(const float* x, float* y, std::int64_t count);
  void (*silu_backward)(const float* grad_y, const float* x, float* grad_x, std::int64_t count);
  void (*linear_combination)(float a, const float* x, float b, const float* y, float* out, std::int64_t count);
  void (*scale)(float a, const float* x, float* out, std::int64_t count);
  void (*add_scaled)(float a, const float* x, float* sum, std::int64_t count);  // sum += a x
  void (*multiply)(const float* x, const float* y, float* out, std::int64_t count);
  void (*add_product)(const float* x, const float* y, float* sum, std::int64_t count);
  void (*affine)(const float* x, const float* scale, const float* shift, float* y, std::int64_t count);
  // Of 2 pi time turns_per_time[i].
  void (*cosines)(float time, const double* turns_per_time, float* cosine, float* sine, std::int64_t count);

  void (*norm)(NormRow& row);
  void (*norm_backward)(const NormRowBackward& row);

  void (*entropy)(EntropyRow& row);
  // Sum of squared differences; grad = factor * (x - y) when grad is not null.
  float (*squared_error)(const float* x, const float* y, float factor, float* grad, std::int64_t count);
  void (*add_squared_deviation)(const float* x, const float* mean, float* sum, std::int64_t count);
  // grad_out = grad_in + factor * (offset + slope * (z - mean))
  void (*moment_gradient)(float factor, const float* grad_in, const float* z, const float* mean, const float* offset,
                          const float* slope, float* grad_out, std::int64_t count);

  float (*dot)(const float* x, const float* y, std::int64_t count);
  double (*sum_of_squares)(const float* x, std::int64_t count);
  void (*adamw)(const AdamRange& range);

  // Standard normals of elements [4 first_block, 4 first_block + count); count a multiple of 4.
  void (*normals)(NormalKey key, std::uint32_t first_block, float* out, std::int64_t count);

  std::int64_t (*attention_scratch)(std::int64_t max_length, std::int64_t head_width, bool backward);  // floats
  void (*attention_forward)(const AttentionHead& head);
  void (*attention_backward)(const AttentionHead& head);
};

namespace sse2 {
extern const Kernels kKernels;
}
namespace avx2 {
extern const Kernels kKernels;
}
namespace avx512 {
extern const Kernels kKernels;
}

// The widest table that this machine can run.
const Kernels& best_kernels();

}  // namespace lsd::backends::cpu
