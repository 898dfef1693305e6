// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/sample_order.h"

#include <algorithm>
#include <bit>

#include "lsd/core/error.h"
#include "lsd/core/philox.h"

namespace lsd::data {
namespace {

// A keyed bijection of [0, n): rounds of add, odd multiply and xor-shift are each invertible modulo a power of two;
// values that land at n or above are sent through again ("cycle walking", less than two rounds on average).
class KeyedPermutation {
 public:
  KeyedPermutation() = default;
  KeyedPermutation(std::int64_t n, RandomKey key, std::uint64_t coordinate, std::uint32_t purpose)
      : n_(static_cast<std::uint64_t>(n)) {
    const int bits = n > 1 ? std::bit_width(n_ - 1) : 0;
    mask_ = (std::uint64_t{1} << bits) - 1;
    shift_ = std::max(1, (bits + 1) / 2);
    for (std::uint32_t r = 0; r < kRounds; ++r) {
      const auto words = random_words(key, r, coordinate, purpose);
      round_[r].add = (std::uint64_t{words.word[0]} << 32U) | words.word[1];
      round_[r].multiply = (std::uint64_t{words.word[2]} << 32U) | words.word[3] | 1U;
    }
  }

  std::int64_t operator()(std::int64_t index) const {
    auto value = static_cast<std::uint64_t>(index);
    do {
      for (const auto& round : round_) {
        value = ((value + round.add) * round.multiply) & mask_;
        value ^= value >> shift_;
      }
    } while (value >= n_);
    return static_cast<std::int64_t>(value);
  }

 private:
  static constexpr std::uint32_t kRounds = 5;
  struct Round {
    std::uint64_t add = 0, multiply = 1;
  };
  std::uint64_t n_ = 1, mask_ = 0;
  int shift_ = 1;
  Round round_[kRounds];
};

enum Purpose : std::uint32_t { kBlocks = 0, kShortBlock = 1, kWindow = 2 };

}  // namespace

struct SampleOrder::WindowKey {
  KeyedPermutation within;          // of the window's positions
  KeyedPermutation blocks;          // of the full blocks
  std::int64_t begin = 0, end = 0;  // positions of the window
  std::int64_t short_slot = 0;      // where among the blocks the last, shorter one stands
  std::int64_t short_records = 0;
};

SampleOrder::SampleOrder(std::int64_t num_records, SampleOrderOptions options)
    : num_records_(num_records), options_(options) {
  check(num_records >= 0, "a source has no negative number of records");
  if (options_.block_records < 1 || options_.window_blocks < 1)
    throw UserError("the sample order needs blocks of at least one record and windows of at least one block");
}

SampleOrder::WindowKey SampleOrder::key_of(std::int64_t epoch, std::int64_t window) const {
  const auto key = random_key(options_.seed, RandomStream::shuffle);
  const auto coordinate = static_cast<std::uint64_t>(epoch);
  const auto full_blocks = num_records_ / options_.block_records;
  const auto window_records = options_.block_records * options_.window_blocks;
  WindowKey result;
  result.begin = window * window_records;
  result.end = std::min(result.begin + window_records, num_records_);
  // Windows number up to 2^31 (over 10^14 records), so the draw's upper half keeps them apart.
  result.within =
      KeyedPermutation(result.end - result.begin, key, coordinate, kWindow + static_cast<std::uint32_t>(window));
  result.blocks = KeyedPermutation(full_blocks, key, coordinate, kBlocks);
  result.short_records = num_records_ % options_.block_records;
  result.short_slot =
      bounded_from_word(random_word(key, 0, coordinate, kShortBlock), static_cast<std::uint32_t>(full_blocks + 1));
  return result;
}

std::int64_t SampleOrder::record_at(const WindowKey& key, std::int64_t position) const {
  const auto block_records = options_.block_records;
  auto slot_position = key.begin + key.within(position - key.begin);
  const auto short_begin = key.short_slot * block_records;
  if (slot_position >= short_begin && key.short_records > 0) {
    if (slot_position < short_begin + key.short_records)
      return num_records_ - key.short_records + (slot_position - short_begin);
    slot_position -= key.short_records;
  }
  return key.blocks(slot_position / block_records) * block_records + slot_position % block_records;
}

std::int64_t SampleOrder::order(std::int64_t epoch, std::int64_t position) const {
  check(epoch >= 0 && position >= 0 && position < num_records_, "positions of an epoch run over all records");
  if (!options_.shuffle) return position;
  return record_at(key_of(epoch, position / (options_.block_records * options_.window_blocks)), position);
}

void SampleOrder::records_of(std::int64_t first_visit, std::span<std::int64_t> records) const {
  check(first_visit >= 0 && num_records_ > 0, "visits count from 0 over at least one record");
  const auto window_records = options_.block_records * options_.window_blocks;
  std::size_t i = 0;
  while (i < records.size()) {
    const auto visit = first_visit + static_cast<std::int64_t>(i);
    auto position = visit % num_records_;
    if (!options_.shuffle) {
      for (; i < records.size() && position < num_records_; ++position) records[i++] = position;
      continue;
    }
    const auto key = key_of(visit / num_records_, position / window_records);
    for (; i < records.size() && position < key.end; ++position) records[i++] = record_at(key, position);
  }
}

}  // namespace lsd::data
