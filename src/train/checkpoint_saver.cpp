// SPDX-License-Identifier: Apache-2.0
#include "checkpoint_saver_internal.h"

#include <chrono>

namespace lsd::train {

void CheckpointSaver::save(Trainer& trainer, const RunIdentity& identity, std::optional<std::int64_t> keep_one_before) {
  wait();
  take_snapshot(trainer, identity, snapshot_);
  if (writer_ == nullptr) return;
  const auto write = [this, &identity, &store = trainer.model().parameters(), keep_one_before] {
    writer_->keep_one_before(keep_one_before);
    write_snapshot(*writer_, snapshot_, store, identity, on_file_);
  };
  if (!in_background_) return write();
  pending_ = std::async(std::launch::async, write);
}

bool CheckpointSaver::failed() {
  using std::chrono::seconds;
  if (!failure_ && pending_.valid() && pending_.wait_for(seconds(0)) == std::future_status::ready) {
    try {
      pending_.get();
    } catch (...) {
      failure_ = std::current_exception();
    }
  }
  return failure_ != nullptr;
}

void CheckpointSaver::wait() {
  if (pending_.valid()) pending_.wait();
  if (failed()) std::rethrow_exception(failure_);
}

}  // namespace lsd::train
