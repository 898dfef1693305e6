// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sequences made from a seed, for tests of everything between a source and a batch.

#include <cstdint>
#include <memory>
#include <vector>

#include "lsd/core/philox.h"
#include "lsd/data/alphabet.h"
#include "lsd/data/sequence_source.h"

namespace lsd::data {

// Lengths between `shortest` and `longest`, residues L .. O (X among them).
inline std::vector<std::vector<std::uint8_t>> random_sequences(std::size_t count, std::uint32_t shortest,
                                                               std::uint32_t longest, std::uint32_t seed = 1) {
  const auto key = random_key(seed, RandomStream::validation);
  std::vector<std::vector<std::uint8_t>> sequences(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    sequences[i].resize(shortest + bounded_from_word(random_word(key, 0, i, 1), longest - shortest + 1));
    for (std::uint32_t j = 0; j < sequences[i].size(); ++j)
      sequences[i][j] = static_cast<std::uint8_t>(kFirstAminoAcid + bounded_from_word(random_word(key, j, i), 25));
  }
  return sequences;
}

inline std::shared_ptr<const SequenceSource> random_source(std::size_t count, std::uint32_t shortest,
                                                           std::uint32_t longest, std::uint32_t seed = 1) {
  return make_memory_source(random_sequences(count, shortest, longest, seed));
}

}  // namespace lsd::data
