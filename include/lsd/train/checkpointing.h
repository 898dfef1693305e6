// SPDX-License-Identifier: Apache-2.0
#pragma once
// A trainer's whole state to a checkpoint and back, so that a resumed run goes on bit for bit (at equal rank count).
// Writing has two halves: a snapshot in host memory, and the files made from it, which another thread may write while
// training goes on.
//   model.safetensors       float32 masters, one array per parameter
//   ema.safetensors         the moving average, when there is one (what diffusion models are used with)
//   optimizer.safetensors   first_moment.<parameter>, second_moment.<parameter>
//   state.json              counters, data cursor, skipped steps, sampler, metric sums since the last line

#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "lsd/core/config.h"
#include "lsd/core/error.h"
#include "lsd/io/checkpoint.h"
#include "lsd/train/trainer.h"

namespace lsd::train {

inline constexpr const char* kModelFile = "model.safetensors";
inline constexpr const char* kEmaFile = "ema.safetensors";
inline constexpr const char* kOptimizerFile = "optimizer.safetensors";

// What a checkpoint says of its run besides the trainer's state.
struct RunIdentity {
  io::Settings settings;                            // the options that decide results
  std::string config_text;                          // all options
  std::map<std::string, std::string> fingerprints;  // "data", ...
  // Further files of fixed content that every checkpoint carries (moments of the latents). The arrays' memory must live
  // as long as the run.
  std::map<std::string, std::vector<io::NamedArray>> files = {};
};

// What a checkpoint of one step holds. Rank 0 alone fills the blocks; their memory is used again by the next snapshot.
struct Snapshot {
  io::CheckpointState state;
  std::vector<float> masters, ema, first_moments, second_moments;  // ema may be empty
  std::uint64_t bytes() const {
    return 4 * (masters.size() + ema.size() + first_moments.size() + second_moments.size());
  }
};
// Collective.
void take_snapshot(Trainer& trainer, const RunIdentity& identity, Snapshot& snapshot);
// Rank 0. Gives the checkpoint's path. Reads names and shapes of `store` only. `on_file` is called behind each file.
std::filesystem::path write_snapshot(io::CheckpointWriter& writer, const Snapshot& snapshot,
                                     const nn::ParameterStore& store, const RunIdentity& identity,
                                     const std::function<void()>& on_file);
// Collective; every rank reads the same files. Throws UserError when the checkpoint is of another config or data set,
// DataError when it does not fit the model.
void restore_checkpoint(const io::Checkpoint& checkpoint, Trainer& trainer, const RunIdentity& identity);

// The float32 block of a store from a file with one array per parameter (`prefix` before each name). Throws DataError
// naming a missing array or one of another shape.
std::vector<float> read_parameter_block(const io::SafetensorsFile& file, const nn::ParameterStore& store,
                                        const std::string& prefix = "");
// The weights to use a trained model with: the moving average where there is one, else the masters.
std::vector<float> read_trained_weights(const io::Checkpoint& checkpoint, const nn::ParameterStore& store);

// Options of section `prefix` ("model.") as a checkpoint holds them, into a config struct. Throws DataError when one is
// missing, UserError when one is unknown.
template <class Config>
Config config_from_settings(const io::Settings& settings, const std::string& prefix) {
  Config config;
  ConfigSchema schema = describe(config);
  for (const auto& field : schema.fields()) {
    const auto found = settings.find(prefix + field.name);
    if (found == settings.end())
      throw DataError("the checkpoint does not say '" + prefix + field.name + "': it is of another kind or version");
    schema.set(field.name, found->second, "checkpoint option " + prefix + field.name);
  }
  schema.validate();
  return config;
}

// Keys and values of the fields whose name is, or lies under, one of `under`.
io::Settings settings_of(const ConfigSchema& schema, const std::vector<std::string>& under);

}  // namespace lsd::train
