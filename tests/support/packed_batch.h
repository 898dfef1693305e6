// SPDX-License-Identifier: Apache-2.0
#pragma once
// A packed micro-batch in host memory, built from sequences of residue tokens: <cls> and <eos> are added, the rows
// behind the last sequence are dead. For tests of models on host backends.

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "lsd/models/batch.h"

namespace lsd::testing {

class PackedBatch {
 public:
  using Sequences = std::vector<std::vector<std::int32_t>>;

  PackedBatch(const Sequences& sequences, std::int64_t capacity, std::int64_t max_sequences)
      : tokens(size(capacity), 1),
        targets(size(capacity), -1),
        row_sequence(size(capacity), -1),
        row_position(size(capacity), 0),
        residue_group(size(capacity), -1),
        type_group(size(capacity), -1),
        offsets(size(max_sequences) + 1, 0),
        order(size(max_sequences)),
        residue_mask(size(capacity), 0),
        visit(size(max_sequences), 0),
        time(size(max_sequences), 0.0F),
        weight(size(max_sequences), 1.0F) {
    std::int32_t row = 0;
    for (std::size_t s = 0; s < sequences.size(); ++s) {
      offsets[s] = row;
      visit[s] = 1000 + static_cast<std::int64_t>(s);
      add_row(row++, s, 0, 0);
      std::int32_t position = 1;
      for (const auto token : sequences[s]) add_row(row++, s, position++, token);
      add_row(row++, s, position, 2);
      longest_ = std::max<std::int64_t>(longest_, position + 1);
    }
    for (std::size_t s = sequences.size(); s < offsets.size(); ++s) offsets[s] = row;
    std::iota(order.begin(), order.end(), 0);
    const auto length = [this](std::int32_t s) { return offsets[size(s) + 1] - offsets[size(s)]; };
    std::ranges::stable_sort(order, [&](std::int32_t a, std::int32_t b) { return length(a) > length(b); });
    used_ = row;
    num_sequences_ = static_cast<std::int64_t>(sequences.size());
  }

  models::Batch batch() const {
    models::Batch batch;
    batch.layout = {.offsets = view(offsets),
                    .row_sequence = view(row_sequence),
                    .row_position = view(row_position),
                    .sequence_order = view(order),
                    .max_length = longest_};
    batch.tokens = view(tokens);
    batch.targets = view(targets);
    batch.residue_mask = view(residue_mask);
    batch.residue_group = view(residue_group);
    batch.type_group = view(type_group);
    batch.sequence_visit = view(visit);
    batch.sequence_time = view(time);
    batch.sequence_weight = view(weight);
    if (!row_scale.empty()) batch.row_scale = view(row_scale);
    if (!latents.empty())
      batch.latents = {latents.data(), DType::float32,
                       Shape{rows(), static_cast<std::int64_t>(latents.size()) / rows()}};
    batch.num_sequences = num_sequences_;
    batch.num_tokens = used_;
    batch.num_residues = std::ranges::count(residue_mask, 1);
    batch.num_targets = std::ranges::count_if(targets, [](std::int32_t target) { return target >= 0; });
    return batch;
  }
  std::int64_t rows() const { return static_cast<std::int64_t>(tokens.size()); }
  std::int64_t used_rows() const { return used_; }

  std::vector<std::int32_t> tokens, targets, row_sequence, row_position, residue_group, type_group, offsets, order;
  std::vector<std::uint8_t> residue_mask;
  std::vector<std::int64_t> visit;
  std::vector<float> time, weight, row_scale, latents;

 private:
  static std::size_t size(std::int64_t value) { return static_cast<std::size_t>(value); }
  template <class T>
  static ConstTensorView view(const std::vector<T>& values) {
    return {values.data(), dtype_of<T>(), Shape{static_cast<std::int64_t>(values.size())}};
  }
  void add_row(std::int32_t row, std::size_t sequence, std::int32_t position, std::int32_t token) {
    const auto r = static_cast<std::size_t>(row);
    tokens.at(r) = token;
    row_sequence[r] = static_cast<std::int32_t>(sequence);
    row_position[r] = position;
    if (token < 4) return;  // <cls>, <eos>
    residue_mask[r] = 1;
    residue_group[r] = 0;
    if (token > 23) return;  // X and the rare letters are no targets of these tests
    targets[r] = token;
    type_group[r] = token - 4;
  }

  std::int64_t longest_ = 0, used_ = 0, num_sequences_ = 0;
};

}  // namespace lsd::testing
