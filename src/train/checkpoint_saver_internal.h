// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writes checkpoints of a run on a thread of rank 0 while training goes on; one at a time. What goes wrong there comes
// out of the next call on rank 0.

#include <cstdint>
#include <functional>
#include <future>
#include <optional>

#include "lsd/train/checkpointing.h"

namespace lsd::train {

class CheckpointSaver {
 public:
  // `writer` is null on all ranks but 0. `in_background` false: save() returns when the checkpoint is in place.
  // `on_file` hears of each file that is written, on the thread that writes.
  CheckpointSaver(io::CheckpointWriter* writer, bool in_background, std::function<void()> on_file)
      : writer_(writer), in_background_(in_background), on_file_(std::move(on_file)) {}

  // Collective: waits for the checkpoint before, then copies the trainer's state. The newest checkpoint before
  // `keep_one_before` stays.
  void save(Trainer& trainer, const RunIdentity& identity, std::optional<std::int64_t> keep_one_before);
  // Whether the last one went wrong; wait() then throws the error.
  bool failed();
  bool is_writing() const {
    return pending_.valid() && pending_.wait_for(std::chrono::seconds(0)) != std::future_status::ready;
  }
  // Until the last one is in place. Throws what went wrong.
  void wait();

 private:
  io::CheckpointWriter* writer_;
  bool in_background_;
  std::function<void()> on_file_;
  Snapshot snapshot_;  // not touched while a checkpoint is being written
  std::future<void> pending_;
  std::exception_ptr failure_;
};

}  // namespace lsd::train
