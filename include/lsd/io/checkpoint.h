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

class CheckpointWriter {
 public:
  // Makes the folder and removes what died half-written there. Keeps the `keep_last` newest (at least 1).
  CheckpointWriter(std::filesystem::path folder, int keep_last);

  // Opens a folder aside for this step. With several writing ranks, rank 0 begins and tells the others the path.
  const std::filesystem::path& begin(std::int64_t step);
  // Writes one file into the folder begun; `name` such as "model.safetensors".
  void write(const std::string& name, const std::vector<NamedArray>& arrays);
  void add_file(WrittenFile file) {
    files_.push_back(std::move(file));
  }  // written by another rank into begin()'s folder
  // Checks that all listed files are there, writes state.json, syncs, renames, switches `latest`, removes old ones.
  // Gives the checkpoint's final path.
  std::filesystem::path commit(const CheckpointState& state);

 private:
  void remove_old(std::int64_t newest_step);

  std::filesystem::path folder_, partial_;
  int keep_last_;
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
// Opens one checkpoint folder: checks version, presence, size and checksum of every file. Throws DataError.
Checkpoint open_checkpoint(const std::filesystem::path& path);
// The one that `latest` names; nullopt when the folder holds none. `reports` gets one line per damaged one passed over.
std::optional<Checkpoint> open_latest_checkpoint(const std::filesystem::path& folder, OnDamage on_damage,
                                                 std::vector<std::string>* reports = nullptr);
// A checkpoint folder itself, a folder of checkpoints, or a run's folder with `checkpoints/` (then its latest): for
// --init-from and frozen encoders.
Checkpoint open_checkpoint_at(const std::filesystem::path& path);

// Throws UserError naming each key whose value differs (or stands on one side only) with both values.
void require_same_config(const Checkpoint& checkpoint, const Settings& config);

}  // namespace lsd::io
