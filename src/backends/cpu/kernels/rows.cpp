// SPDX-License-Identifier: Apache-2.0
// Rows: norms, losses, moments, optimizer.
#include "declarations_internal.h"
#include "scalar_math_internal.h"

namespace lsd::backends::cpu::LSD_CPU_ISA {
namespace {

// Sums run in kParts interleaved parts, added in order at the end: vector code with a fixed order on one machine.
constexpr std::int64_t kParts = 64;

// sum of term(i) for i < count
template <class Term>
static inline float sum_of(std::int64_t count, Term term) {
  float part[kParts] = {};
  std::int64_t i = 0;
  for (; i + kParts <= count; i += kParts)
    for (std::int64_t p = 0; p < kParts; ++p) part[p] += term(i + p);
  for (std::int64_t p = 0; p < count - i; ++p) part[p] += term(i + p);
  for (std::int64_t step = kParts / 2; step > 0; step /= 2)
    for (std::int64_t p = 0; p < step; ++p) part[p] += part[p + step];
  return part[0];
}

}  // namespace

void norm(NormRow& row) {
  const auto width = row.width;
  const float* stream = row.x;
  if (row.delta != nullptr) {
    if (row.gate != nullptr) {
#pragma omp simd
      for (std::int64_t c = 0; c < width; ++c) row.sum[c] = row.x[c] + row.gate[c] * row.delta[c];
    } else {
#pragma omp simd
      for (std::int64_t c = 0; c < width; ++c) row.sum[c] = row.x[c] + row.delta[c];
    }
    if (row.round_sum) {
#pragma omp simd
      for (std::int64_t c = 0; c < width; ++c) row.sum[c] = rounded_to_bfloat16(row.sum[c]);
    }
    stream = row.sum;
  }
  const float mean = sum_of(width, [&](std::int64_t c) { return stream[c]; }) / static_cast<float>(width);
  const float variance = sum_of(width, [&](std::int64_t c) { return (stream[c] - mean) * (stream[c] - mean); }) /
                         static_cast<float>(width);
  const float inv_std = 1.0F / __builtin_sqrtf(variance + row.epsilon), offset = row.gain_offset;
  float* y = row.y;
  const float *gain = row.gain, *bias = row.bias;
#pragma omp simd
  for (std::int64_t c = 0; c < width; ++c) y[c] = (stream[c] - mean) * inv_std * (gain[c] + offset) + bias[c];
  row.mean = mean;
  row.inv_std = inv_std;
}

void norm_backward(const NormRowBackward& row) {
  const auto width = row.width;
  const float mean = row.mean, inv_std = row.inv_std, offset = row.gain_offset;
  const float *grad_y = row.grad_y, *sum = row.sum, *gain = row.gain, *grad_sum = row.grad_sum;
  const float first = sum_of(width, [&](std::int64_t c) { return grad_y[c] * (gain[c] + offset); });
  const float second =
      sum_of(width, [&](std::int64_t c) { return grad_y[c] * (gain[c] + offset) * ((sum[c] - mean) * inv_std); });
  const float a = first / static_cast<float>(width), b = second / static_cast<float>(width);
  if (row.grad_gain != nullptr) {
    float *grad_gain = row.grad_gain, *grad_bias = row.grad_bias;
#pragma omp simd
    for (std::int64_t c = 0; c < width; ++c) {
      grad_gain[c] += grad_y[c] * ((sum[c] - mean) * inv_std);
      grad_bias[c] += grad_y[c];
    }
  }
  float* grad_x = row.grad_x;
  if (grad_sum == nullptr) {
#pragma omp simd
    for (std::int64_t c = 0; c < width; ++c)
      grad_x[c] = inv_std * (grad_y[c] * (gain[c] + offset) - a - (sum[c] - mean) * inv_std * b);
  } else {
#pragma omp simd
    for (std::int64_t c = 0; c < width; ++c)
      grad_x[c] = inv_std * (grad_y[c] * (gain[c] + offset) - a - (sum[c] - mean) * inv_std * b) + grad_sum[c];
  }
}

void entropy(EntropyRow& row) {
  const float* logits = row.logits;
  const auto vocab = row.vocab;
  float largest = logits[0];
  std::int64_t best = 0;
  for (std::int64_t k = 1; k < vocab; ++k)
    if (logits[k] > largest) {
      largest = logits[k];
      best = k;
    }
  const float total = sum_of(vocab, [&](std::int64_t k) { return exp_of(logits[k] - largest); });
  const float target_logit = logits[row.target];  // read before grad, which may share memory, is written
  row.entropy = log_of(total) - (target_logit - largest);
  row.correct = best == row.target;
  if (row.grad == nullptr) return;
  float* grad = row.grad;
  const float factor = row.factor / total;
#pragma omp simd
  for (std::int64_t k = 0; k < vocab; ++k) grad[k] = factor * exp_of(logits[k] - largest);
  // softmax - 1 at the target, from the rounded softmax as everywhere else
  grad[row.target] -= row.factor;
}

float squared_error(const float* x, const float* y, float factor, float* grad, std::int64_t count) {
  const float sum = sum_of(count, [&](std::int64_t i) { return (x[i] - y[i]) * (x[i] - y[i]); });
  if (grad != nullptr) {
#pragma omp simd
    for (std::int64_t i = 0; i < count; ++i) grad[i] = factor * (x[i] - y[i]);
  }
  return sum;
}

void add_squared_deviation(const float* x, const float* mean, float* sum, std::int64_t count) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) sum[i] += (x[i] - mean[i]) * (x[i] - mean[i]);
}

void moment_gradient(float factor, const float* grad_in, const float* z, const float* mean, const float* offset,
                     const float* slope, float* grad_out, std::int64_t count) {
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i)
    grad_out[i] = grad_in[i] + factor * (offset[i] + slope[i] * (z[i] - mean[i]));
}

float dot(const float* x, const float* y, std::int64_t count) {
  return sum_of(count, [&](std::int64_t i) { return x[i] * y[i]; });
}

double sum_of_squares(const float* x, std::int64_t count) {
  double part[kParts] = {};
  std::int64_t i = 0;
  for (; i + kParts <= count; i += kParts)
    for (std::int64_t p = 0; p < kParts; ++p) part[p] += static_cast<double>(x[i + p]) * static_cast<double>(x[i + p]);
  for (std::int64_t p = 0; p < count - i; ++p) part[p] += static_cast<double>(x[i + p]) * static_cast<double>(x[i + p]);
  double sum = 0.0;
  for (const double value : part) sum += value;
  return sum;
}

void adamw(const AdamRange& range) {
  const float *grad = range.grad, rate = range.rate;
  float *master = range.master, *first = range.first, *second = range.second, *ema = range.ema;
  for (std::int64_t block = 0; block < range.count / 64; ++block) {
    const float decay = range.decay_blocks[block] != 0 ? range.weight_decay : 0.0F;
#pragma omp simd
    for (std::int64_t i = block * 64; i < (block + 1) * 64; ++i) {
      const float g = grad[i] * range.scale;
      first[i] = range.beta1 * first[i] + (1.0F - range.beta1) * g;
      second[i] = range.beta2 * second[i] + (1.0F - range.beta2) * g * g;
      const float update = first[i] * range.inv_bias1 / (__builtin_sqrtf(second[i] * range.inv_bias2) + range.epsilon);
      master[i] -= rate * (update + decay * master[i]);
    }
    if (ema == nullptr) continue;
#pragma omp simd
    for (std::int64_t i = block * 64; i < (block + 1) * 64; ++i) ema[i] += range.ema_step * (master[i] - ema[i]);
  }
}

}  // namespace lsd::backends::cpu::LSD_CPU_ISA
