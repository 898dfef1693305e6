// SPDX-License-Identifier: Apache-2.0
#pragma once
// Masked language modelling's choices for one sequence: each residue but X is a target with some probability, and then
// replaced by <mask>, replaced by a random amino acid, or kept. A pure function of (seed, visit, token coordinate),
// where coordinates count tokens within the crop (<cls> = 0).

#include <cstdint>
#include <span>

namespace lsd::data {

struct MaskingOptions {
  double probability = 0.15;  // of being a target
  double mask_share = 0.8;    // of the targets: becomes <mask>
  double random_share = 0.1;  // of the targets: becomes one of the 20 amino acids; the rest stays as it is
};

// `tokens`: one sequence with or without specials; changed in place. `targets`: the old id where chosen, -1 elsewhere.
// Gives the number of targets.
std::int64_t mask_sequence(const MaskingOptions& options, std::uint32_t seed, std::int64_t visit,
                           std::span<std::int32_t> tokens, std::span<std::int32_t> targets);

// ESM-2's token dropout: embeddings of <mask> are zeroed and the others scaled by
// (1 - 0.15 x 0.8) / (1 - masked share of the sequence, specials counted). Without any <mask> the scale is 0.88.
void token_dropout_scale(std::span<const std::int32_t> tokens, std::span<float> row_scale);

}  // namespace lsd::data
