// SPDX-License-Identifier: Apache-2.0
// Philox4x32-10 and Box-Muller over many counters at once. The generator is core/philox.h, written again on arrays so
// that it becomes vector code; a test holds the two together.
#include "declarations_internal.h"
#include "scalar_math_internal.h"

namespace lsd::backends::cpu::LSD_CPU_ISA {
namespace {

constexpr std::int64_t kBatch = 32;  // counters per pass

struct Words {
  std::uint32_t word[4][kBatch];
};

static inline void philox_batch(NormalKey key, std::uint32_t first_block, Words& words) {
  for (std::int64_t i = 0; i < kBatch; ++i) {
    words.word[0][i] = first_block + static_cast<std::uint32_t>(i);
    words.word[1][i] = key.visit_low;
    words.word[2][i] = key.visit_high;
    words.word[3][i] = key.draw;
  }
  std::uint32_t key0 = key.seed, key1 = key.stream;
  for (int round = 0; round < 10; ++round) {
#pragma omp simd
    for (std::int64_t i = 0; i < kBatch; ++i) {
      const std::uint64_t product0 = std::uint64_t{0xD2511F53U} * words.word[0][i];
      const std::uint64_t product1 = std::uint64_t{0xCD9E8D57U} * words.word[2][i];
      words.word[0][i] = static_cast<std::uint32_t>(product1 >> 32U) ^ words.word[1][i] ^ key0;
      words.word[1][i] = static_cast<std::uint32_t>(product1);
      words.word[2][i] = static_cast<std::uint32_t>(product0 >> 32U) ^ words.word[3][i] ^ key1;
      words.word[3][i] = static_cast<std::uint32_t>(product0);
    }
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
}

static inline float uniform_of(std::uint32_t word) {
  return (static_cast<float>(static_cast<std::int32_t>(word >> 9U)) + 0.5F) * 0x1.0p-23F;
}

}  // namespace

void normals(NormalKey key, std::uint32_t first_block, float* out, std::int64_t count) {
  Words words;
  float value[4][kBatch];
  for (std::int64_t begin = 0; begin < count; begin += 4 * kBatch) {
    philox_batch(key, first_block + static_cast<std::uint32_t>(begin / 4), words);
    for (int pair = 0; pair < 4; pair += 2) {
#pragma omp simd
      for (std::int64_t i = 0; i < kBatch; ++i) {
        const float radius = __builtin_sqrtf(-2.0F * log_of(uniform_of(words.word[pair][i])));
        float sine, cosine;
        sincos_of_turn(uniform_of(words.word[pair + 1][i]), sine, cosine);
        value[pair][i] = radius * cosine;
        value[pair + 1][i] = radius * sine;
      }
    }
    const std::int64_t blocks = (count - begin) / 4 < kBatch ? (count - begin) / 4 : kBatch;
    for (std::int64_t i = 0; i < blocks; ++i)
      for (int word = 0; word < 4; ++word) out[begin + 4 * i + word] = value[word][i];
  }
}

void cosines(float time, const double* turns_per_time, float* cosine, float* sine, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    // The product in double: an angle of thousands of turns in float32 would have lost the bits behind the point.
    const double turn = static_cast<double>(time) * turns_per_time[i];
    const double whole = __builtin_rint(turn);
    sincos_of_turn(static_cast<float>(turn - whole), sine[i], cosine[i]);
  }
}

}  // namespace lsd::backends::cpu::LSD_CPU_ISA
