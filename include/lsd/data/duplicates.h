// SPDX-License-Identifier: Apache-2.0
#pragma once
// Finds records that repeat an earlier one, by 128-bit digests (XXH3): with n distinct texts the chance that any two
// are taken for equal is about n^2 / 2^129, some 1e-23 for 65 million.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

namespace lsd::data {

struct Digest {
  std::uint64_t high = 0, low = 0;
  friend auto operator<=>(const Digest&, const Digest&) = default;
};

Digest digest_of(std::span<const std::uint8_t> bytes);
Digest digest_of(std::string_view text);

// One pass of `add` in any order, then one `finish`. Implementations differ in where they keep the digests; the answer
// is the same. The one here keeps them in memory, 24 bytes a record.
class DuplicateFinder {
 public:
  virtual ~DuplicateFinder() = default;
  virtual void add(const Digest& digest, std::uint64_t record) = 0;
  // Calls `found(repeat, first)` once for every record whose digest a record of lower number has; `first` is the
  // lowest.
  virtual void finish(const std::function<void(std::uint64_t repeat, std::uint64_t first)>& found) = 0;
};

std::unique_ptr<DuplicateFinder> make_memory_duplicate_finder();

}  // namespace lsd::data
