// SPDX-License-Identifier: Apache-2.0
#pragma once
// The ESM-2 alphabet in ESM-2's order, so that its weights fit without a map. Shards hold residues only.

#include <array>
#include <cstdint>
#include <string_view>

namespace lsd::data {

inline constexpr std::array<std::string_view, 33> kTokens = {
    "<cls>", "<pad>", "<eos>", "<unk>", "L", "A", "G", "V", "S", "E", "R", "T", "I", "D", "P",        "K",     "Q",
    "N",     "F",     "Y",     "M",     "H", "W", "C", "X", "B", "U", "Z", "O", ".", "-", "<null_1>", "<mask>"};

inline constexpr std::uint8_t kCls = 0, kPad = 1, kEos = 2, kUnk = 3, kMask = 32;
inline constexpr std::uint8_t kFirstAminoAcid = 4, kLastAminoAcid = 23;  // L .. C: the 20 of LSD-TN, group = id - 4
inline constexpr std::uint8_t kUnknownResidue = 24;                      // X: never a target
inline constexpr int kVocabulary = 33;

constexpr bool is_standard_residue(std::uint8_t token) {
  return token >= kFirstAminoAcid && token <= kLastAminoAcid;
}

}  // namespace lsd::data
