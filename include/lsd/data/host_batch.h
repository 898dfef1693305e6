// SPDX-License-Identifier: Apache-2.0
#pragma once
// A packed micro-batch in host memory: every array of models::Batch in one block of fixed size, so that one copy brings
// it to a device, where the same offsets hold. Names, types and meanings as in models/batch.h and
// tensor/packed_layout.h.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "lsd/data/masking.h"
#include "lsd/data/packing.h"

namespace lsd::data {

// Byte offsets of the arrays in the block, multiples of 256.
struct HostBatchLayout {
  HostBatchLayout() = default;
  HostBatchLayout(std::int64_t rows, std::int64_t max_sequences);

  std::int64_t rows = 0, max_sequences = 0;
  std::size_t offsets = 0;          // int32 [max_sequences + 1]
  std::size_t row_sequence = 0;     // int32 [rows]
  std::size_t row_position = 0;     // int32 [rows]
  std::size_t sequence_order = 0;   // int32 [max_sequences]
  std::size_t tokens = 0;           // int32 [rows]
  std::size_t targets = 0;          // int32 [rows]
  std::size_t row_scale = 0;        // float32 [rows]
  std::size_t residue_group = 0;    // int32 [rows]
  std::size_t type_group = 0;       // int32 [rows]
  std::size_t residue_mask = 0;     // uint8 [rows]
  std::size_t sequence_visit = 0;   // int64 [max_sequences]
  std::size_t sequence_time = 0;    // float32 [max_sequences]
  std::size_t sequence_weight = 0;  // float32 [max_sequences]
  std::size_t total_bytes = 0;
};

// Gives memory of at least this many bytes, 256-byte aligned (pinned memory for a GPU); the default is ordinary memory.
using HostAllocate = std::function<std::shared_ptr<std::byte>(std::size_t bytes)>;

class HostBatch {
 public:
  HostBatch() = default;
  HostBatch(std::int64_t rows, std::int64_t max_sequences, const HostAllocate& allocate = {});

  const HostBatchLayout& layout() const { return layout_; }
  std::span<std::byte> block() const { return {block_.get(), layout_.total_bytes}; }

  std::span<std::int32_t> offsets() const { return view<std::int32_t>(layout_.offsets, layout_.max_sequences + 1); }
  std::span<std::int32_t> row_sequence() const { return view<std::int32_t>(layout_.row_sequence, layout_.rows); }
  std::span<std::int32_t> row_position() const { return view<std::int32_t>(layout_.row_position, layout_.rows); }
  std::span<std::int32_t> sequence_order() const {
    return view<std::int32_t>(layout_.sequence_order, layout_.max_sequences);
  }
  std::span<std::int32_t> tokens() const { return view<std::int32_t>(layout_.tokens, layout_.rows); }
  std::span<std::int32_t> targets() const { return view<std::int32_t>(layout_.targets, layout_.rows); }
  std::span<float> row_scale() const { return view<float>(layout_.row_scale, layout_.rows); }
  std::span<std::int32_t> residue_group() const { return view<std::int32_t>(layout_.residue_group, layout_.rows); }
  std::span<std::int32_t> type_group() const { return view<std::int32_t>(layout_.type_group, layout_.rows); }
  std::span<std::uint8_t> residue_mask() const { return view<std::uint8_t>(layout_.residue_mask, layout_.rows); }
  std::span<std::int64_t> sequence_visit() const {
    return view<std::int64_t>(layout_.sequence_visit, layout_.max_sequences);
  }
  // Left 0 and 1 by fill(); the diffusion trainer writes them.
  std::span<float> sequence_time() const { return view<float>(layout_.sequence_time, layout_.max_sequences); }
  std::span<float> sequence_weight() const { return view<float>(layout_.sequence_weight, layout_.max_sequences); }

  std::vector<PlacedSequence> sequences;  // in row order: record, visit and crop of each
  std::int64_t num_tokens = 0;            // rows in use
  std::int64_t num_residues = 0;
  std::int64_t num_targets = 0;  // rows with targets[row] >= 0

 private:
  template <class T>
  std::span<T> view(std::size_t offset_bytes, std::int64_t count) const {
    return {reinterpret_cast<T*>(block_.get() + offset_bytes), static_cast<std::size_t>(count)};
  }

  HostBatchLayout layout_;
  std::shared_ptr<std::byte> block_;
};

struct BatchContent {
  bool specials = true;                        // as in PackingOptions
  std::optional<MaskingOptions> masking = {};  // none: every residue but X is a target (NM, TN)
  bool token_dropout = false;                  // false: row_scale is 1 everywhere
  std::uint32_t seed = 0;                      // of the masks
};

// Fills every array of `batch` for `plan`; what does not belong to a sequence becomes dead rows and unused slots.
void fill_batch(const SequenceSource& source, const MicroBatchPlan& plan, const BatchContent& content,
                HostBatch& batch);

}  // namespace lsd::data
