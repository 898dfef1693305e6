// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sizes of the operands of op cases, and what their inputs are drawn from.

#include <algorithm>

#include "backends/op_case.h"

namespace lsd::testing {

struct CaseSizes {
  std::string label;
  std::vector<int> lengths;
  int dead_rows = 0;
  int width = 0, heads = 1, inner = 0, vocab = 33, groups = 20;

  std::int64_t rows() const {
    std::int64_t sum = dead_rows;
    for (const int length : lengths) sum += length;
    return sum;
  }
  double attention_flops() const {  // of one product of all scores
    double sum = 0.0;
    for (const int length : lengths) sum += 2.0 * length * length * width;
    return sum;
  }
};

namespace cases {

inline std::vector<std::int32_t> integers(std::int64_t count, int low, int high, std::uint32_t seed) {
  std::vector<std::int32_t> out(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = low + static_cast<int>(bounded_from_word(random_word({seed, 99}, static_cast<std::uint32_t>(i), 0),
                                                      static_cast<std::uint32_t>(high - low)));
  return out;
}

inline std::vector<std::uint8_t> mask(std::int64_t count) {
  std::vector<std::uint8_t> out;
  for (const int value : integers(count, 0, 4, 17)) out.push_back(value > 0 ? 1 : 0);
  return out;
}

inline std::vector<std::int64_t> visits(std::int64_t count) {
  std::vector<std::int64_t> out;
  for (std::int64_t s = 0; s < count; ++s) out.push_back(s * 7 + (s % 3 == 0 ? 5'000'000'000 : 0));
  return out;
}

}  // namespace cases
}  // namespace lsd::testing
