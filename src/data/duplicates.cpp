// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/duplicates.h"

#include <xxhash.h>

#include <algorithm>
#include <vector>

namespace lsd::data {
namespace {

class MemoryDuplicateFinder final : public DuplicateFinder {
 public:
  void add(const Digest& digest, std::uint64_t record) override { entries_.push_back({digest, record}); }

  void finish(const std::function<void(std::uint64_t, std::uint64_t)>& found) override {
    std::sort(entries_.begin(), entries_.end());
    std::uint64_t first = 0;
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (i > 0 && entries_[i].digest == entries_[i - 1].digest) {
        found(entries_[i].record, first);
      } else {
        first = entries_[i].record;
      }
    }
    entries_ = {};
  }

 private:
  struct Entry {
    Digest digest;
    std::uint64_t record;
    friend auto operator<=>(const Entry&, const Entry&) = default;
  };
  std::vector<Entry> entries_;
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
