// SPDX-License-Identifier: Apache-2.0
#pragma once
// Checkpoints: folders `checkpoint-00001000/` with model.safetensors, optimizer.safetensors and state.json, beside a
// text file `latest` that names the newest good one. docs/formats/checkpoints.md is the format.
//
// A checkpoint appears whole or not at all: it is written aside, checksummed, synced, renamed, and `latest` is switched
// last. A process killed at any point leaves the previous checkpoint in force.

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lsd/io/attempt.h"
#include "lsd/io/named_array.h"
#include "lsd/io/safetensors.h"

namespace lsd::io {

inline constexpr int kCheckpointVersion = 1;

using Settings = std::map<std::string, std::string>;  // "optimizer.learning_rate" -> "0.0004"

// Everything of state.json but the list of files.
struct CheckpointState {
  std::int64_t step = 0;        // optimizer steps done
  std::int64_t next_visit = 0;  // data cursor: first visit of the next step
  std::vector<std::int64_t> skipped_visits;
  Settings config;                                  // the options that decide results; another value is another run
  std::string config_text;                          // the whole resolved config, as --print-config shows it
  std::map<std::string, std::string> fingerprints;  // "data" -> ..., "model" -> ...
  std::map<std::string, std::string> versions;      // program, git revision, libraries
  std::string extra_json = "{}";                    // an object of the trainer's own: sampler, schedule, best loss
};

struct CheckpointPolicy {
  int keep_last = 2;                 // newest ones, at least 1
  std::int64_t milestone_steps = 0;  // those of a multiple of it stay for ever, beside the newest ones; 0: none
};

// Not thread safe, but its calls may come from any thread.
class CheckpointWriter {
 public:
  // Makes the folder and removes what died half-written there: with an attempt, of older attempts only; without one
  // nobody else may write there. A superseded attempt's commit throws and changes nothing.
  CheckpointWriter(std::filesystem::path folder, CheckpointPolicy policy, std::optional<Attempt> attempt = {});
  CheckpointWriter(std::filesystem::path folder, int keep_last)
      : CheckpointWriter(std::move(folder), CheckpointPolicy{.keep_last = keep_last}) {}

  // Opens a folder aside for this step. Throws SystemError unless there is room for `expected_bytes`. With several
  // writing ranks, rank 0 begins and tells the others the path.
  const std::filesystem::path& begin(std::int64_t step, std::uint64_t expected_bytes = 0);
  // Writes one file into the folder begun; `name` such as "model.safetensors". After an error in write() or commit()
  // nothing of the checkpoint is left, and the writer can begin another one.
  void write(const std::string& name, const std::vector<NamedArray>& arrays);
  void add_file(WrittenFile file) {
    files_.push_back(std::move(file));
  }  // written by another rank into begin()'s folder
  // Checks that all listed files are there, writes state.json, syncs, renames, switches `latest`, removes old ones.
  // Gives the checkpoint's final path.
  std::filesystem::path commit(const CheckpointState& state);
  // The newest checkpoint before `step` stays, whatever is written later; nullopt: no such wish.
  void keep_one_before(std::optional<std::int64_t> step) { keep_one_before_ = step; }
  // Removes those later than `step`: of a course that the run has left. The one in force must not be later.
  void remove_after(std::int64_t step);

 private:
  void remove_old(std::int64_t newest_step);
  void remove_one(std::int64_t step);
  void abandon();
  std::filesystem::path commit_begun(const CheckpointState& state);
  void put_in_place(const std::filesystem::path& path);
  std::filesystem::path partial_of(const std::filesystem::path& path) const;

  std::filesystem::path folder_, partial_;
  CheckpointPolicy policy_;
  std::optional<Attempt> attempt_;
  std::optional<std::int64_t> keep_one_before_;
  std::int64_t step_ = -1;
  std::vector<WrittenFile> files_;
};

struct Checkpoint {
  std::filesystem::path path;
  CheckpointState state;
  std::map<std::string, SafetensorsFile> files;  // by file name

  const SafetensorsFile& model() const { return file("model.safetensors"); }
  const SafetensorsFile& optimizer() const { return file("optimizer.safetensors"); }
  const SafetensorsFile& file(const std::string& name) const;  // throws DataError
};

enum class OnDamage {
  refuse,     // the newest checkpoint is damaged: DataError naming the file
  fall_back,  // take the newest good one before it
};

bool has_checkpoint(const std::filesystem::path& folder);
// Steps of the checkpoints in a folder, ascending, good or not.
std::vector<std::int64_t> checkpoint_steps(const std::filesystem::path& folder);
std::filesystem::path checkpoint_path(const std::filesystem::path& folder, std::int64_t step);
// Opens one checkpoint folder: checks version, presence, size and checksum of every file. Throws DataError.
Checkpoint open_checkpoint(const std::filesystem::path& path);
// The one that `latest` names; nullopt when the folder holds none. `reports` gets one line per damaged one passed over.
std::optional<Checkpoint> open_latest_checkpoint(const std::filesystem::path& folder, OnDamage on_damage,
                                                 std::vector<std::string>* reports = nullptr);
// A checkpoint folder itself, a folder of checkpoints, or a run's folder with `checkpoints/` (then its latest): for
// run.init_from and frozen encoders.
Checkpoint open_checkpoint_at(const std::filesystem::path& path);

// Throws UserError naming each key whose value differs (or stands on one side only) with both values.
void require_same_config(const Checkpoint& checkpoint, const Settings& config);

}  // namespace lsd::io
