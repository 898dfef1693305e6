// SPDX-License-Identifier: Apache-2.0
#pragma once
// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) with the project's coordinates.
//
// A draw is a pure function of where it belongs, never of when it is made:
//   key     = (seed, RandomStream)
//   counter = (element block, visit low, visit high, draw)
// `visit` = epoch x number of samples + position; `element` counts within the sample (a token for per-token draws,
// position x width + dimension for latent noise); one counter yields four 32-bit words = elements 4 b .. 4 b + 3.
// constexpr so that CPU and CUDA (--expt-relaxed-constexpr) run the same lines.

#include <array>
#include <cstdint>

#include "lsd/core/random_stream.h"

namespace lsd {

struct RandomKey {
  std::uint32_t seed = 0;
  std::uint32_t stream = 0;
};

constexpr RandomKey random_key(std::uint32_t seed, RandomStream stream) {
  return {seed, static_cast<std::uint32_t>(stream)};
}

struct PhiloxWords {
  std::uint32_t word[4];
};

constexpr PhiloxWords philox4x32(PhiloxWords counter, std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53U} * counter.word[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57U} * counter.word[2];
    counter = {
        {static_cast<std::uint32_t>(product1 >> 32U) ^ counter.word[1] ^ key0, static_cast<std::uint32_t>(product1),
         static_cast<std::uint32_t>(product0 >> 32U) ^ counter.word[3] ^ key1, static_cast<std::uint32_t>(product0)}};
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return counter;
}

// Four words for elements 4 * element_block .. 4 * element_block + 3 of one visit.
constexpr PhiloxWords random_words(RandomKey key, std::uint32_t element_block, std::uint64_t visit,
                                   std::uint32_t draw = 0) {
  return philox4x32(
      {{element_block, static_cast<std::uint32_t>(visit), static_cast<std::uint32_t>(visit >> 32U), draw}}, key.seed,
      key.stream);
}

// The word of one element.
constexpr std::uint32_t random_word(RandomKey key, std::uint32_t element, std::uint64_t visit, std::uint32_t draw = 0) {
  return random_words(key, element / 4, visit, draw).word[element % 4];
}

// A word as a float in the open interval (0, 1): 23 bits plus half a step, so exact in float32 on every machine.
constexpr float uniform_from_word(std::uint32_t word) {
  return (static_cast<float>(word >> 9U) + 0.5F) * 0x1.0p-23F;
}

constexpr float random_uniform(RandomKey key, std::uint32_t element, std::uint64_t visit, std::uint32_t draw = 0) {
  return uniform_from_word(random_word(key, element, visit, draw));
}

// An integer in [0, bound) by multiply and shift; the bias is below bound / 2^32.
constexpr std::uint32_t bounded_from_word(std::uint32_t word, std::uint32_t bound) {
  return static_cast<std::uint32_t>((std::uint64_t{word} * bound) >> 32U);
}

// Standard normals are Box-Muller on word pairs (0,1) and (2,3) of a counter:
//   n0 = sqrt(-2 ln u0) cos(2 pi u1),  n1 = sqrt(-2 ln u0) sin(2 pi u1),  u = uniform_from_word.
// Each backend evaluates ln, cos and sin itself, so normals agree to a few ulp and not to the bit.

// Known answers of the reference implementation (Random123, kat_vectors).
static_assert(philox4x32({{0, 0, 0, 0}}, 0, 0).word[0] == 0x6627E8D5U);
static_assert(philox4x32({{0xFFFFFFFFU, 0xFFFFFFFFU, 0xFFFFFFFFU, 0xFFFFFFFFU}}, 0xFFFFFFFFU, 0xFFFFFFFFU).word[0] ==
              0x408F276DU);
static_assert(philox4x32({{0x243F6A88U, 0x85A308D3U, 0x13198A2EU, 0x03707344U}}, 0xA4093822U, 0x299F31D0U).word[0] ==
              0xD16CFE09U);

}  // namespace lsd
