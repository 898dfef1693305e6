// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/synthetic_fasta.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "lsd/core/philox.h"

namespace lsd::data {
namespace {

// Share of every residue in Swiss-Prot, per thousand, most frequent first.
constexpr std::string_view kLetters = "LAGVESIKRDTPNQFYMHCW";
constexpr int kPerMille[] = {97, 83, 71, 69, 67, 66, 59, 58, 55, 55, 54, 47, 41, 39, 39, 29, 24, 23, 14, 10};

std::uint32_t length_of(RandomKey key, std::uint64_t record, double median) {
  const auto words = random_words(key, 0, record, 1);
  const double normal = std::sqrt(-2.0 * std::log(uniform_from_word(words.word[0]))) *
                        std::cos(6.283185307179586 * uniform_from_word(words.word[1]));
  return static_cast<std::uint32_t>(std::clamp(median * std::exp(0.65 * normal), 20.0, 35000.0));
}

}  // namespace

SyntheticFasta::SyntheticFasta(std::uint32_t seed, std::int64_t residues_in_a_line, double median_length)
    : seed_(seed), line_(residues_in_a_line), median_length_(median_length) {
  for (std::size_t i = 0; i < kLetters.size(); ++i)
    letters_.append(static_cast<std::size_t>(kPerMille[i]), kLetters[i]);
}

void SyntheticFasta::append_record(std::uint64_t record, std::string& text) const {
  const auto key = random_key(seed_, RandomStream::sample);
  text += fmt::format(
      ">UniRef50_S{:09} Uncharacterized protein n={} Tax=Synthetica artificialis TaxID={} RepID=S{:09}_9SYNT\n", record,
      1 + random_word(key, 0, record, 2) % 40, 100000 + random_word(key, 1, record, 2) % 900000, record);
  const auto length = length_of(key, record, median_length_);
  PhiloxWords words{};
  for (std::uint32_t at = 0; at < length; ++at) {
    if (at % 4 == 0) words = random_words(key, at / 4, record);
    text += letters_[bounded_from_word(words.word[at % 4], static_cast<std::uint32_t>(letters_.size()))];
    if ((at + 1) % line_ == 0) text += '\n';
  }
  if (text.back() != '\n') text += '\n';
}

}  // namespace lsd::data
