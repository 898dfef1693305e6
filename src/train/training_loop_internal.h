// SPDX-License-Identifier: Apache-2.0
#pragma once
// The inside of a training run: its folder (rank 0 writes, the others follow) and the loop over steps.

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "checkpoint_saver_internal.h"
#include "lsd/core/heartbeat.h"
#include "lsd/core/run_dir.h"
#include "lsd/train/training_run.h"
#include "lsd/train/validation.h"

namespace lsd::train {

// The run directory as all ranks see it. Nothing is written there once a newer attempt has begun: SystemError instead.
class RunFolder {
 public:
  explicit RunFolder(const TrainingJob& job);

  bool already_done() const { return done_; }
  // Newest good one; every rank opens the same.
  std::optional<io::Checkpoint> latest_checkpoint() const;
  // Newest good one before `step`, the same on every rank; nullopt when there is none.
  std::optional<io::Checkpoint> checkpoint_before(std::int64_t step) const;
  // Collective. Throws SystemError with the bytes needed and free when the disk cannot take the checkpoints that this
  // run makes before the first of them is removed, so that it does not fail after hours. Those already there count.
  void require_disk(double checkpoint_bytes) const;
  // The run goes on behind `step`: clears the state and metric lines that will be written again.
  void start_from(std::int64_t step);
  // The run has gone back to `step`: later checkpoints and metric lines are of a course that it has left.
  void forget_after(std::int64_t step);
  std::filesystem::path attempt_folder() const { return attempt_->folder(); }
  io::CheckpointWriter* writer() { return writer_ ? &*writer_ : nullptr; }
  void append_metrics(const std::string& line);
  // Runs `body` and notes DONE or STOPPED behind it; run_app notes FAILED.
  bool finish(const std::function<bool()>& body);

 private:
  void commit(RunState state, const std::string& reason);
  std::int64_t checkpoints_to_come(bool with_timed) const;

  const TrainingJob& job_;
  std::filesystem::path checkpoints_;
  std::unique_ptr<RunDir> dir_;  // rank 0 only
  std::optional<io::Attempt> attempt_;
  std::optional<io::CheckpointWriter> writer_;
  bool done_ = false;
};

class TrainingLoop {
 public:
  // `begin_anew` puts the trainer's weights and optimizer back to those of a run's beginning.
  TrainingLoop(const TrainingJob& job, Trainer& trainer, RunFolder& folder, std::function<void()> begin_anew);
  bool run();

 private:
  using Clock = std::chrono::steady_clock;
  enum class Next { go_on, checkpoint, stop };
  // Tells the watchdog, and with it the other ranks.
  void at(std::int64_t step, const char* phase);
  Next after_step(const StepReport& report, bool last);
  Next decide(const Votes& votes) const;
  Votes vote();
  void start_loader();
  // The first of the steps that were skipped lately; nullopt when there are none.
  std::optional<std::int64_t> first_recent_skip() const;
  bool roll_back_if_needed();
  void roll_back(std::int64_t before_step);
  void note_ranks(nlohmann::ordered_json& line);
  bool run_steps();
  void log_step(const StepReport& report);
  void log_validation();
  void checkpoint();
  void finish_checkpoints();
  bool due(std::int64_t every) const { return every > 0 && trainer_.state().step % every == 0; }

  const TrainingJob& job_;
  Trainer& trainer_;
  RunFolder& folder_;
  std::function<void()> begin_anew_;
  ValidationOptions validation_;
  std::unique_ptr<data::BatchLoader> loader_;
  CheckpointSaver saver_;
  Clock::time_point last_log_, last_checkpoint_;
  std::int64_t tokens_at_last_log_, step_at_last_checkpoint_;
  std::string last_note_;
};

}  // namespace lsd::train
