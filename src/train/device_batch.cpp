// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/device_batch.h"

#include "lsd/core/error.h"

namespace lsd::train {

DeviceBatch::DeviceBatch(Backend& backend, const BatchShape& shape)
    : backend_(backend), layout_(shape.capacity, shape.max_sequences), memory_(backend.allocate(layout_.total_bytes)) {
  auto* base = static_cast<std::byte*>(memory_.data());
  const auto at = [&](std::size_t offset, DType type, std::int64_t count) {
    return ConstTensorView(base ? base + offset : nullptr, type, Shape{count}, backend.device());
  };
  const auto rows = shape.capacity, slots = shape.max_sequences;
  batch_.layout = {.offsets = at(layout_.offsets, DType::int32, slots + 1),
                   .row_sequence = at(layout_.row_sequence, DType::int32, rows),
                   .row_position = at(layout_.row_position, DType::int32, rows),
                   .sequence_order = at(layout_.sequence_order, DType::int32, slots),
                   .max_length = shape.max_length};
  batch_.tokens = at(layout_.tokens, DType::int32, rows);
  batch_.targets = at(layout_.targets, DType::int32, rows);
  if (shape.token_dropout) batch_.row_scale = at(layout_.row_scale, DType::float32, rows);
  batch_.residue_mask = at(layout_.residue_mask, DType::uint8, rows);
  batch_.residue_group = at(layout_.residue_group, DType::int32, rows);
  batch_.type_group = at(layout_.type_group, DType::int32, rows);
  batch_.sequence_visit = at(layout_.sequence_visit, DType::int64, slots);
  batch_.sequence_time = at(layout_.sequence_time, DType::float32, slots);
  batch_.sequence_weight = at(layout_.sequence_weight, DType::float32, slots);
}

const models::Batch& DeviceBatch::upload(const data::HostBatch& batch) {
  check(batch.layout().rows == layout_.rows && batch.layout().max_sequences == layout_.max_sequences,
        "a host batch has the capacity of its device block");
  const TensorView block(memory_.data(), DType::uint8, Shape{static_cast<std::int64_t>(layout_.total_bytes)},
                         backend_.device());
  backend_.copy_to_device(block, batch.block().data());
  batch_.num_sequences = static_cast<std::int64_t>(batch.sequences.size());
  batch_.num_tokens = batch.num_tokens;
  batch_.num_residues = batch.num_residues;
  batch_.num_targets = batch.num_targets;
  return batch_;
}

}  // namespace lsd::train
