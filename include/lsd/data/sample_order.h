// SPDX-License-Identifier: Apache-2.0
#pragma once
// In which order an epoch visits the records: a keyed permutation of blocks of neighbouring records, then of records
// within a window of blocks. Reads stay near each other (a window spans some 20 MB of a memory-mapped shard) and
// nothing is stored: order(epoch, position) is a pure function of (seed, epoch, position) and a bijection in every
// epoch.

#include <cstdint>
#include <span>

namespace lsd::data {

struct SampleOrderOptions {
  bool shuffle = true;  // false: record order
  std::uint32_t seed = 0;
  std::int64_t block_records = 256;  // neighbours that stay in one window
  std::int64_t window_blocks = 256;
};

class SampleOrder {
 public:
  SampleOrder(std::int64_t num_records, SampleOrderOptions options);

  std::int64_t size() const { return num_records_; }
  std::int64_t order(std::int64_t epoch, std::int64_t position) const;
  // The records of visits [first_visit, first_visit + records.size()); a visit is epoch x size() + position.
  void records_of(std::int64_t first_visit, std::span<std::int64_t> records) const;

 private:
  struct WindowKey;
  WindowKey key_of(std::int64_t epoch, std::int64_t window) const;
  std::int64_t record_at(const WindowKey& key, std::int64_t position) const;

  std::int64_t num_records_;
  SampleOrderOptions options_;
};

}  // namespace lsd::data
