// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/import_esm2.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "esm2_weights_internal.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/build_info.h"
#include "lsd/core/checksum.h"
#include "lsd/core/config.h"
#include "lsd/core/error.h"
#include "lsd/core/json_text.h"
#include "lsd/core/run_dir.h"
#include "lsd/io/checkpoint.h"
#include "lsd/models/build_model.h"
#include "lsd/tasks/train_autoencoder.h"
#include "lsd/train/checkpointing.h"
#include "lsd/train/frozen_model.h"

namespace fs = std::filesystem;

namespace lsd::tasks {
namespace {

constexpr std::string_view kProgram = "lsd_import_esm2";
constexpr const char* kModelConfigFile = "model.cfg";

std::string fingerprint_of(const std::vector<SourceFile>& files) {
  std::string text;
  for (const auto& file : files) text += fmt::format("{} {} {}\n", file.name, file.bytes, checksum_hex(file.checksum));
  return checksum_hex(checksum64(text));
}

// The options of lsd_train_autoencoder that a run on these weights must have.
ConfigSchema training_schema(TrainAutoencoderConfig& config, const Esm2Config& esm2) {
  config.model = esm2.model;
  config.masking.token_dropout = esm2.token_dropout;
  return describe(config);
}

std::string training_config_text(const ConfigSchema& schema) {
  std::string text =
      "# Options that fit these weights: lsd_train_autoencoder --config THIS --run.init_from=FOLDER ...\n[model]\n";
  for (const auto* key : {"variant", "width", "heads", "encoder_layers", "gelu"})
    text += fmt::format("{} = {}\n", key, schema.value_text(*schema.find(fmt::format("model.{}", key))));
  return text +
         fmt::format("\n[masking]\ntoken_dropout = {}\n", schema.value_text(*schema.find("masking.token_dropout")));
}

std::string extra_json(const std::vector<SourceFile>& files, const Esm2Weights& weights) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& file : files)
    list.push_back({{"name", file.name}, {"bytes", file.bytes}, {"checksum", checksum_hex(file.checksum)}});
  const nlohmann::ordered_json extra = {{"source",
                                         {{"kind", "esm2"},
                                          {"files", list},
                                          {"elements", weights.elements},
                                          {"unused", weights.unused},
                                          {"rotary_frequencies", name_of(weights.frequencies)}}}};
  return json_text(extra);
}

struct Imported {
  Esm2Config config;
  std::unique_ptr<models::Autoencoder> model;  // parameters without memory
  Esm2Weights weights;
  std::vector<SourceFile> files;
};

Imported read_source(const fs::path& folder) {
  const Esm2Source source(folder);
  Imported imported{.config = read_esm2_config(folder)};
  imported.model = models::build_autoencoder(imported.config.model);
  imported.weights = read_esm2_weights(source, imported.config, imported.model->parameters());
  imported.files = source.checksums();
  return imported;
}

void write_checkpoint(const fs::path& folder, const Imported& imported) {
  const auto& store = imported.model->parameters();
  std::vector<io::NamedArray> arrays;
  for (const auto& info : store.infos()) {
    std::vector<std::int64_t> shape;
    for (int axis = 0; axis < info.shape.rank(); ++axis) shape.push_back(info.shape[axis]);
    arrays.push_back(io::named_floats(
        info.name, shape,
        std::span(imported.weights.block)
            .subspan(static_cast<std::size_t>(info.offset), static_cast<std::size_t>(info.shape.elements()))));
  }
  TrainAutoencoderConfig config;
  const auto schema = training_schema(config, imported.config);
  io::CheckpointState state;
  state.config = train::settings_of(schema, {"model", "masking.token_dropout"});
  if (imported.weights.frequencies != FrequencyRounding::none) state.config[train::kRotaryFrequencies] = "float16";
  state.config_text = training_config_text(schema);
  state.fingerprints = {{"esm2", fingerprint_of(imported.files)}};
  state.versions = {{"program", std::string(version())}, {"git_revision", std::string(git_revision())}};
  state.extra_json = extra_json(imported.files, imported.weights);
  io::CheckpointWriter writer(folder / "checkpoints", 1);
  writer.begin(0, static_cast<std::uint64_t>(store.count()) * sizeof(float));
  writer.write(train::kModelFile, arrays);
  writer.commit(state);
  write_file_atomically(folder / kModelConfigFile, state.config_text);
}

void tell(const Log& log, const Imported& imported) {
  const auto& model = imported.config.model;
  log.info(fmt::format("ESM-2 of {} parameters ({}): width {}, {} heads, {} layers, token dropout {}; checksum {}",
                       human_count(static_cast<double>(imported.model->parameters().count())),
                       fmt::join(imported.weights.elements, ", "), model.width, model.heads, model.encoder_layers,
                       imported.config.token_dropout ? "on" : "off", fingerprint_of(imported.files)));
  if (!imported.weights.unused.empty())
    log.info(fmt::format("not used by our model and left out: {}", fmt::join(imported.weights.unused, ", ")));
  if (imported.weights.frequencies == FrequencyRounding::float16)
    log.info(
        "the rotary frequencies are rounded to float16, as published ESM-2 models have them; the encoder does so too");
  if (imported.weights.frequencies == FrequencyRounding::coarser)
    log.warn(
        "the rotary frequencies are rounded to bfloat16 by a conversion; the encoder takes them as rounded to float16, "
        "as "
        "published ESM-2 models have them, so its embeddings differ a little from transformers' of this folder");
}

// What stays of the folder's last import: done with the same source and readable.
bool is_done(const RunDir& run, const Log& log) {
  if (run.state() != RunState::done) return false;
  try {
    return io::open_latest_checkpoint(run.path() / "checkpoints", io::OnDamage::refuse).has_value();
  } catch (const DataError& error) {
    log.warn(fmt::format("the checkpoint is damaged and is made again: {}", error.what()));
    return false;
  }
}

void import_into(const fs::path& folder, const std::string& config, const Imported& imported, Runtime& runtime) {
  RunDir run(folder, kProgram, config, fingerprint_of(imported.files), runtime.ranks.size());
  runtime.run_folder = folder;
  if (is_done(run, runtime.log)) {
    runtime.log.info(fmt::format("{} is finished already", folder.string()));
    return;
  }
  run.clear_state();
  write_checkpoint(folder, imported);
  run.commit_state(RunState::done, "the checkpoint is written");
  runtime.log.info(fmt::format("an autoencoder for --features.autoencoder or --run.init_from: {}", folder.string()));
}

}  // namespace

Outcome import_esm2(const ImportEsm2Config& config, Runtime& runtime) {
  if (runtime.ranks.is_root()) {
    const auto imported = with_context("while reading the ESM-2 model " + config.source.directory,
                                       [&] { return read_source(config.source.directory); });
    tell(runtime.log, imported);
    import_into(config.output.directory, config_text(config), imported, runtime);
  }
  runtime.ranks.barrier();
  return Outcome::done;
}

}  // namespace lsd::tasks
