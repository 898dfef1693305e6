// SPDX-License-Identifier: Apache-2.0
#pragma once
// Where the sequences of a packed micro-batch stand. Sequences lie end to end; the rows behind the last one, up to the
// capacity, are dead: they enter no loss, moment or gradient, but hold finite values. All buffers have fixed capacity,
// so every step has the same shapes.

#include "lsd/tensor/view.h"

namespace lsd {

struct PackedLayout {
  ConstTensorView offsets;         // int32 [max_sequences + 1]; entries behind the last sequence repeat the rows in use
  ConstTensorView row_sequence;    // int32 [rows]; which sequence a row belongs to, -1 on dead rows
  ConstTensorView row_position;    // int32 [rows]; position within its sequence (<cls> = 0), 0 on dead rows
  ConstTensorView sequence_order;  // int32 [max_sequences]; a permutation, longest sequence first: a schedule hint
  std::int64_t max_length = 0;     // host bound on any sequence's length in this run (not per step)

  std::int64_t rows() const { return row_sequence.elements(); }
  std::int64_t max_sequences() const { return offsets.elements() - 1; }
};

}  // namespace lsd
