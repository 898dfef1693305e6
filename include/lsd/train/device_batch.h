// SPDX-License-Identifier: Apache-2.0
#pragma once
// The device side of a packed micro-batch: one block of memory with the host block's layout, filled by one contiguous
// copy and seen as models::Batch. The same block serves every micro-batch; the device's order keeps them apart.

#include "lsd/data/host_batch.h"
#include "lsd/models/batch.h"
#include "lsd/tensor/backend.h"

namespace lsd::train {

struct BatchShape {
  std::int64_t capacity = 0;  // rows
  std::int64_t max_sequences = 0;
  std::int64_t max_length = 0;  // tokens of the longest sequence
  bool token_dropout = false;   // whether Batch::row_scale is present
};

class DeviceBatch {
 public:
  DeviceBatch(Backend& backend, const BatchShape& shape);

  // The host block must stay alive until the backend is synchronised.
  const models::Batch& upload(const data::HostBatch& batch);
  const models::Batch& views() const { return batch_; }
  std::size_t bytes() const { return layout_.total_bytes; }

 private:
  Backend& backend_;
  data::HostBatchLayout layout_;
  DeviceMemory memory_;
  models::Batch batch_;
};

}  // namespace lsd::train
