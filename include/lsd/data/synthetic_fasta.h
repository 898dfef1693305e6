// SPDX-License-Identifier: Apache-2.0
#pragma once
// Random proteins with UniRef-like headers and lengths, for benchmarks and for trials at scale. Equal arguments give
// equal bytes. Residues are drawn independently with Swiss-Prot's frequencies, so nothing can be learnt from them.

#include <cstdint>
#include <string>

namespace lsd::data {

class SyntheticFasta {
 public:
  // Lengths are log-normal, of 20 to 35,000 residues; UniRef50's have a median of about 230.
  SyntheticFasta(std::uint32_t seed, std::int64_t residues_in_a_line, double median_length = 230.0);
  void append_record(std::uint64_t record, std::string& text) const;

 private:
  std::uint32_t seed_;
  std::int64_t line_;
  double median_length_;
  std::string letters_;  // as often as in 1,000 residues
};

}  // namespace lsd::data
