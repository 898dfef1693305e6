// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/masking.h"

#include <algorithm>

#include "lsd/core/philox.h"
#include "lsd/data/alphabet.h"

namespace lsd::data {
namespace {

enum Draw : std::uint32_t { kChosen = 0, kKind = 1, kResidue = 2 };

// What ESM-2 was trained with; its embeddings expect the scale whatever share is masked now.
constexpr float kEsmMaskedShare = 0.15F * 0.8F;

bool can_be_target(std::int32_t token) {
  return token >= kFirstAminoAcid && token < static_cast<std::int32_t>(kMask) && token != kUnknownResidue;
}

}  // namespace

std::int64_t mask_sequence(const MaskingOptions& options, std::uint32_t seed, std::int64_t visit,
                           std::span<std::int32_t> tokens, std::span<std::int32_t> targets) {
  const auto key = random_key(seed, RandomStream::mask);
  const auto coordinate = static_cast<std::uint64_t>(visit);
  std::int64_t chosen = 0;
  PhiloxWords block{};
  for (std::uint32_t i = 0; i < tokens.size(); ++i) {
    if (i % 4 == 0) block = random_words(key, i / 4, coordinate, kChosen);
    targets[i] = -1;
    if (!can_be_target(tokens[i]) || uniform_from_word(block.word[i % 4]) >= options.probability) continue;
    targets[i] = tokens[i];
    ++chosen;
    const double kind = random_uniform(key, i, coordinate, kKind);
    if (kind < options.mask_share) {
      tokens[i] = kMask;
    } else if (kind < options.mask_share + options.random_share) {
      constexpr std::uint32_t amino_acids = kLastAminoAcid - kFirstAminoAcid + 1;
      tokens[i] = static_cast<std::int32_t>(kFirstAminoAcid +
                                            bounded_from_word(random_word(key, i, coordinate, kResidue), amino_acids));
    }
  }
  return chosen;
}

void token_dropout_scale(std::span<const std::int32_t> tokens, std::span<float> row_scale) {
  const auto masked = std::count(tokens.begin(), tokens.end(), std::int32_t{kMask});
  // In a sequence of nothing but <mask> no row is scaled by this value.
  const float kept = masked == static_cast<std::ptrdiff_t>(tokens.size())
                         ? 1.0F
                         : 1.0F - static_cast<float>(masked) / static_cast<float>(tokens.size());
  const float scale = (1.0F - kEsmMaskedShare) / kept;
  std::transform(tokens.begin(), tokens.end(), row_scale.begin(),
                 [&](auto token) { return token == kMask ? 0.0F : scale; });
}

}  // namespace lsd::data
