// SPDX-License-Identifier: Apache-2.0
// Attention of one head of one sequence, in tiles of kQueries x kKeys scores: memory grows with the length, never with
// its square (Dao et al., "FlashAttention", 2022). Everything depends on this sequence's rows alone.
#include "scalar_math_internal.h"
#include "vector_internal.h"

namespace lsd::backends::cpu::LSD_CPU_ISA {
namespace {

constexpr std::int64_t kQueries = 48;
constexpr std::int64_t kKeys = 96;
constexpr float kLog2E = 1.44269504088896341F;
constexpr float kLn2 = 0.69314718055994531F;
constexpr float kLowest = -3.0e38F;

static inline std::int64_t padded(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Scratch is handed out from its front.
struct Scratch {
  float* next;
  float* take(std::int64_t count) {
    float* out = next;
    next += padded(count, 16);
    return out;
  }
};

// One row, rotated by its position, times factor; head_width_padded columns, zero behind head_width.
static inline void rotated_row(const AttentionHead& head, const float* from, std::int64_t row, float factor, float* to,
                               std::int64_t stride) {
  const auto half = head.head_width / 2;
  const float* cosine = head.cosine + head.position[row] * half;
  const float* sine = head.sine + head.position[row] * half;
#pragma omp simd
  for (std::int64_t i = 0; i < half; ++i) {
    const float a = from[i], b = from[half + i];
    to[i] = factor * (a * cosine[i] - b * sine[i]);
    to[half + i] = factor * (b * cosine[i] + a * sine[i]);
  }
  for (std::int64_t i = head.head_width; i < stride; ++i) to[i] = 0.0F;
}

static inline void unrotated_row(const AttentionHead& head, const float* from, std::int64_t row, float factor,
                                 float* to) {
  const auto half = head.head_width / 2;
  const float* cosine = head.cosine + head.position[row] * half;
  const float* sine = head.sine + head.position[row] * half;
#pragma omp simd
  for (std::int64_t i = 0; i < half; ++i) {
    const float a = from[i], b = from[half + i];
    to[i] = factor * (a * cosine[i] + b * sine[i]);
    to[half + i] = factor * (b * cosine[i] - a * sine[i]);
  }
}

static inline void plain_row(const float* from, float* to, std::int64_t width, std::int64_t stride) {
  for (std::int64_t i = 0; i < width; ++i) to[i] = from[i];
  for (std::int64_t i = width; i < stride; ++i) to[i] = 0.0F;
}

// Key tiles, transposed: tile t holds [head_width, kKeys] of rows t * kKeys ..; missing keys are 0.
static inline void transpose_tiles(const float* rows, std::int64_t stride, std::int64_t length, std::int64_t width,
                                   float* tiles) {
  for (std::int64_t begin = 0; begin < length; begin += kKeys) {
    const auto count = length - begin < kKeys ? length - begin : kKeys;
    float* tile = tiles + begin * width;
    for (std::int64_t c = 0; c < width; ++c) {
      for (std::int64_t j = 0; j < count; ++j) tile[c * kKeys + j] = rows[(begin + j) * stride + c];
      for (std::int64_t j = count; j < kKeys; ++j) tile[c * kKeys + j] = 0.0F;
    }
  }
}

// Keys behind the last one get a score that exp2 turns into 0.
static inline void mask_tail(float* scores, std::int64_t rows, std::int64_t count, std::int64_t columns) {
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = count; j < columns; ++j) scores[i * kKeys + j] = kLowest;
}

struct SoftmaxRow {
  float largest, total;
};

// scores -> 2^(scores - largest), with the running maximum and total; returns what the earlier rows are worth now.
static inline float online_softmax(float* scores, std::int64_t columns, SoftmaxRow& state) {
  Vector top = load(scores);
  for (std::int64_t j = kLanes; j < columns; j += kLanes) top = larger(top, load(scores + j));
  const float before = state.largest, tile = largest_of(top);
  state.largest = tile > before ? tile : before;
  Vector total{};
  for (std::int64_t j = 0; j < columns; j += kLanes) {
    const Vector p = exp2_not_positive(load(scores + j) - state.largest);
    store(scores + j, p);
    total += p;
  }
  const float worth = exp2_of(before - state.largest);
  state.total = state.total * worth + sum_of_lanes(total);
  return worth;
}

}  // namespace

std::int64_t attention_scratch(std::int64_t max_length, std::int64_t head_width, bool backward) {
  const auto length = padded(max_length, kKeys), width = padded(head_width, kLanes);
  const auto keys = length * width + 16, block = kQueries * width + 16, scores = kQueries * kKeys + 16;
  return backward ? 6 * keys + 3 * block + 2 * scores + 4 * kQueries
                  : 3 * keys + 2 * block + scores + 2 * kQueries + 64;
}

void attention_forward(const AttentionHead& head) {
  const auto length = head.length, width = head.head_width, stride = padded(width, kLanes);
  const float scale = kLog2E / __builtin_sqrtf(static_cast<float>(width));
  Scratch scratch{head.scratch};
  float* keys = scratch.take(padded(length, kKeys) * stride);  // rotated rows, then dead
  float* key_tiles = scratch.take(padded(length, kKeys) * stride);
  float* values = scratch.take(padded(length, kKeys) * stride);
  float* queries = scratch.take(kQueries * stride);
  float* sums = scratch.take(kQueries * stride);
  float* scores = scratch.take(kQueries * kKeys);
  for (std::int64_t r = 0; r < length; ++r) {
    rotated_row(head, head.k + r * head.qkv_stride, r, 1.0F, keys + r * stride, stride);
    plain_row(head.v + r * head.qkv_stride, values + r * stride, width, stride);
  }
  transpose_tiles(keys, stride, length, width, key_tiles);
  for (std::int64_t begin = 0; begin < length; begin += kQueries) {
    const auto count = length - begin < kQueries ? length - begin : kQueries, rows = padded(count, kBlockRows);
    SoftmaxRow state[kQueries];
    for (std::int64_t i = 0; i < rows; ++i) {
      state[i] = {kLowest, 0.0F};
      // Rows behind the last one repeat it: finite, and never stored.
      const auto r = begin + (i < count ? i : count - 1);
      rotated_row(head, head.q + r * head.qkv_stride, r, scale, queries + i * stride, stride);
      for (std::int64_t c = 0; c < stride; ++c) sums[i * stride + c] = 0.0F;
    }
    for (std::int64_t first = 0; first < length; first += kKeys) {
      const auto here = length - first < kKeys ? length - first : kKeys, columns = padded(here, kLanes);
      multiply_tile({queries, stride, 1}, key_tiles + first * width, kKeys, scores, kKeys, rows, columns, width, false);
      if (columns > here) mask_tail(scores, rows, here, columns);
      for (std::int64_t i = 0; i < rows; ++i) {
        const float worth = online_softmax(scores + i * kKeys, columns, state[i]);
        if (worth != 1.0F)
          for (std::int64_t c = 0; c < stride; ++c) sums[i * stride + c] *= worth;
      }
      multiply_tile({scores, kKeys, 1}, values + first * stride, stride, sums, stride, rows, stride, here, true);
    }
    for (std::int64_t i = 0; i < count; ++i) {
      const float inverse = 1.0F / state[i].total;
      float* out = head.out + (begin + i) * head.out_stride;
      for (std::int64_t c = 0; c < width; ++c) out[c] = sums[i * stride + c] * inverse;
      if (head.log_sum_exp != nullptr) head.log_sum_exp[begin + i] = kLn2 * state[i].largest + log_of(state[i].total);
    }
  }
}

void attention_backward(const AttentionHead& head) {
  const auto length = head.length, width = head.head_width, stride = padded(width, kLanes);
  const float root = 1.0F / __builtin_sqrtf(static_cast<float>(width)), scale = kLog2E * root;
  Scratch scratch{head.scratch};
  const auto room = padded(length, kKeys) * stride;
  float* keys = scratch.take(room);
  float* key_tiles = scratch.take(room);
  float* value_tiles = scratch.take(room);
  float* grad_keys = scratch.take(room);
  float* grad_values = scratch.take(room);
  float* queries = scratch.take(kQueries * stride);
  float* grad_outs = scratch.take(kQueries * stride);
  float* grad_queries = scratch.take(kQueries * stride);
  float* scores = scratch.take(kQueries * kKeys);
  float* grad_scores = scratch.take(kQueries * kKeys);
  float log2_sum[kQueries], mean_gradient[kQueries];  // of each row: lse / ln 2, and sum_j p_ij dp_ij
  for (std::int64_t r = 0; r < length; ++r)
    rotated_row(head, head.k + r * head.qkv_stride, r, 1.0F, keys + r * stride, stride);
  for (std::int64_t i = length * stride; i < room; ++i) keys[i] = 0.0F;
  transpose_tiles(keys, stride, length, width, key_tiles);
  transpose_tiles(head.v, head.qkv_stride, length, width, value_tiles);
  for (std::int64_t i = 0; i < room; ++i) grad_keys[i] = grad_values[i] = 0.0F;
  for (std::int64_t begin = 0; begin < length; begin += kQueries) {
    const auto count = length - begin < kQueries ? length - begin : kQueries, rows = padded(count, kBlockRows);
    for (std::int64_t i = 0; i < rows; ++i) {
      const auto r = begin + (i < count ? i : count - 1);
      rotated_row(head, head.q + r * head.qkv_stride, r, scale, queries + i * stride, stride);
      plain_row(head.grad_out + r * head.out_stride, grad_outs + i * stride, width, stride);
      float sum = 0.0F;
      for (std::int64_t c = 0; c < width; ++c)
        sum += head.grad_out[r * head.out_stride + c] * head.out_read[r * head.out_stride + c];
      mean_gradient[i] = sum;
      log2_sum[i] = head.log_sum_exp[r] * kLog2E;
    }
    for (std::int64_t first = 0; first < length; first += kKeys) {
      const auto here = length - first < kKeys ? length - first : kKeys, columns = padded(here, kLanes);
      multiply_tile({queries, stride, 1}, key_tiles + first * width, kKeys, scores, kKeys, rows, columns, width, false);
      if (columns > here) mask_tail(scores, rows, here, columns);
      multiply_tile({grad_outs, stride, 1}, value_tiles + first * width, kKeys, grad_scores, kKeys, rows, columns,
                    width, false);
      for (std::int64_t i = 0; i < rows; ++i)
        for (std::int64_t j = 0; j < columns; j += kLanes) {
          const Vector p = exp2_not_positive(load(scores + i * kKeys + j) - log2_sum[i]);
          store(scores + i * kKeys + j, p);
          store(grad_scores + i * kKeys + j, p * (load(grad_scores + i * kKeys + j) - mean_gradient[i]));
        }
      const auto keys_here = padded(here, kBlockRows);
      multiply_tile({scores, 1, kKeys}, grad_outs, stride, grad_values + first * stride, stride, keys_here, stride,
                    count, true);
      multiply_tile({grad_scores, 1, kKeys}, queries, stride, grad_keys + first * stride, stride, keys_here, stride,
                    count, true);
      multiply_tile({grad_scores, kKeys, 1}, keys + first * stride, stride, grad_queries, stride, rows, stride, here,
                    first > 0);
    }
    for (std::int64_t i = 0; i < count; ++i)
      unrotated_row(head, grad_queries + i * stride, begin + i, root, head.grad_q + (begin + i) * head.qkv_stride);
  }
  for (std::int64_t r = 0; r < length; ++r) {
    // queries carry scale = root / ln 2, the gradient of the scores asks for root
    unrotated_row(head, grad_keys + r * stride, r, kLn2, head.grad_k + r * head.qkv_stride);
    float* grad_v = head.grad_v + r * head.qkv_stride;
    for (std::int64_t c = 0; c < width; ++c) grad_v[c] = grad_values[r * stride + c];
  }
}

}  // namespace lsd::backends::cpu::LSD_CPU_ISA
