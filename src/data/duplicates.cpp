// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/duplicates.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <vector>

namespace lsd::data {
namespace {

// Entries go into 4096 parts by their first 12 bits, so that each part is sorted within the cache.
class MemoryDuplicateFinder final : public DuplicateFinder {
 public:
  void add(const Digest& digest, std::uint64_t record) override {
    parts_[digest.high >> 52U].push_back({digest, record});
  }

  void finish(const std::function<void(std::uint64_t, std::uint64_t)>& found) override {
    for (auto& part : parts_) {
      std::sort(part.begin(), part.end());
      std::uint64_t first = 0;
      for (std::size_t i = 0; i < part.size(); ++i) {
        if (i > 0 && part[i].digest == part[i - 1].digest) {
          found(part[i].record, first);
        } else {
          first = part[i].record;
        }
      }
      part = {};
    }
  }

 private:
  struct Entry {
    Digest digest;
    std::uint64_t record;
    friend auto operator<=>(const Entry&, const Entry&) = default;
  };
  std::array<std::vector<Entry>, 4096> parts_;
};

}  // namespace

Digest digest_of(std::span<const std::uint8_t> bytes) {
  const auto hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}

Digest digest_of(std::string_view text) {
  return digest_of(std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

std::unique_ptr<DuplicateFinder> make_memory_duplicate_finder() {
  return std::make_unique<MemoryDuplicateFinder>();
}

}  // namespace lsd::data
