// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/checkpointing.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lsd/core/build_info.h"

namespace lsd::train {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::int64_t> dims_of(const Shape& shape) {
  std::vector<std::int64_t> dims;
  for (int axis = 0; axis < shape.rank(); ++axis) dims.push_back(shape[axis]);
  return dims;
}

std::vector<float> to_host(Backend& backend, ConstTensorView block) {
  std::vector<float> values(static_cast<std::size_t>(block.elements()));
  backend.copy_to_host(values.data(), block);
  backend.synchronize();
  return values;
}

void to_device(Backend& backend, TensorView block, const std::vector<float>& values) {
  check(static_cast<std::int64_t>(values.size()) == block.elements(), "a block keeps its size");
  backend.copy_to_device(block, values.data());
  backend.synchronize();
}

// Views of one host block, parameter by parameter.
void append_arrays(std::vector<io::NamedArray>& arrays, const nn::ParameterStore& store, std::span<const float> block,
                   const std::string& prefix) {
  for (const auto& info : store.infos())
    arrays.push_back(io::named_floats(prefix + info.name, dims_of(info.shape),
                                      block.subspan(static_cast<std::size_t>(info.offset),
                                                    static_cast<std::size_t>(info.shape.elements()))));
}

Json skipped_json(const std::vector<SkippedStep>& skipped) {
  Json list = Json::array();
  for (const auto& skip : skipped) list.push_back({skip.step, skip.first_visit, skip.end_visit});
  return list;
}

// Metric sums of every rank, so that a resumed run adds up in the same order.
Json gathered_sums(Trainer& trainer) {
  const auto& mine = trainer.metrics().sums();
  Json all = Json::array();
  for (const auto& bytes : trainer.world().ranks.all_gather(std::as_bytes(std::span<const double>(mine)))) {
    std::vector<double> sums(bytes.size() / sizeof(double));
    std::copy_n(reinterpret_cast<const double*>(bytes.data()), sums.size(), sums.begin());
    all.push_back(sums);
  }
  return all;
}

Json extra_json(Trainer& trainer) {
  const auto& state = trainer.state();
  Json extra = {{"optimizer_steps", state.optimizer_steps},
                {"skips_in_a_row", state.skips_in_a_row},
                {"tokens_seen", state.tokens_seen},
                {"skipped_steps", skipped_json(state.skipped)},
                {"metric_sums", gathered_sums(trainer)}};
  if (trainer.sampler()) extra["importance_sampler"] = trainer.sampler()->state();
  return extra;
}

void write_arrays(io::CheckpointWriter& writer, Trainer& trainer) {
  auto& backend = trainer.world().backend;
  auto& optimizer = trainer.optimizer();
  const auto& store = trainer.model().parameters();
  const auto write_block = [&](const char* file, ConstTensorView view) {
    const auto block = to_host(backend, view);
    std::vector<io::NamedArray> arrays;
    append_arrays(arrays, store, block, "");
    writer.write(file, arrays);
  };
  write_block(kModelFile, optimizer.masters());
  if (optimizer.ema().present()) write_block(kEmaFile, optimizer.ema());
  const auto first = to_host(backend, optimizer.first_moments());
  const auto second = to_host(backend, optimizer.second_moments());
  std::vector<io::NamedArray> arrays;
  append_arrays(arrays, store, first, "first_moment.");
  append_arrays(arrays, store, second, "second_moment.");
  writer.write(kOptimizerFile, arrays);
}

// At equal rank count every rank takes its own sums again, else rank 0 takes all of them.
void restore_sums(const Json& all, Trainer& trainer) {
  const auto& ranks = trainer.world().ranks;
  if (static_cast<int>(all.size()) == ranks.size()) {
    trainer.metrics().set_sums(all[static_cast<std::size_t>(ranks.rank())].get<std::vector<double>>());
    return;
  }
  std::vector<double> total(trainer.metrics().sums().size());
  if (ranks.rank() == 0)
    for (const auto& one : all) {
      const auto values = one.get<std::vector<double>>();
      for (std::size_t i = 0; i < std::min(values.size(), total.size()); ++i) total[i] += values[i];
    }
  trainer.metrics().set_sums(total);
}

void restore_state(const io::Checkpoint& checkpoint, Trainer& trainer) {
  const auto extra = Json::parse(checkpoint.state.extra_json);
  auto& state = trainer.state();
  state = {};
  state.step = checkpoint.state.step;
  state.end_visit = checkpoint.state.next_visit;
  state.optimizer_steps = extra.at("optimizer_steps");
  state.skips_in_a_row = extra.at("skips_in_a_row");
  state.tokens_seen = extra.at("tokens_seen");
  for (const auto& skip : extra.at("skipped_steps")) state.skipped.push_back({skip.at(0), skip.at(1), skip.at(2)});
  restore_sums(extra.at("metric_sums"), trainer);
  if (trainer.sampler()) trainer.sampler()->set_state(extra.at("importance_sampler").get<std::vector<double>>());
}

}  // namespace

std::filesystem::path save_checkpoint(io::CheckpointWriter* writer, Trainer& trainer, const RunIdentity& identity) {
  const auto extra = extra_json(trainer);
  std::filesystem::path path;
  if (trainer.world().ranks.is_root()) {
    check(writer != nullptr, "rank 0 writes the checkpoint");
    writer->begin(trainer.state().step);
    write_arrays(*writer, trainer);
    for (const auto& [name, arrays] : identity.files) writer->write(name, arrays);
    io::CheckpointState state;
    state.step = trainer.state().step;
    state.next_visit = trainer.state().end_visit;
    state.config = identity.settings;
    state.config_text = identity.config_text;
    state.fingerprints = identity.fingerprints;
    state.versions = {{"program", std::string(version())}, {"git_revision", std::string(git_revision())}};
    state.extra_json = extra.dump();
    path = writer->commit(state);
  }
  trainer.world().ranks.barrier();
  return path;
}

void restore_checkpoint(const io::Checkpoint& checkpoint, Trainer& trainer, const RunIdentity& identity) {
  io::require_same_config(checkpoint, identity.settings);
  for (const auto& [what, fingerprint] : identity.fingerprints) {
    const auto found = checkpoint.state.fingerprints.find(what);
    if (found != checkpoint.state.fingerprints.end() && found->second != fingerprint)
      throw UserError("checkpoint " + checkpoint.path.string() + " was made with another " + what + " (fingerprint " +
                      found->second + ", now " + fingerprint + "); use the same one, or a new run directory");
  }
  auto& backend = trainer.world().backend;
  auto& optimizer = trainer.optimizer();
  const auto& store = trainer.model().parameters();
  to_device(backend, optimizer.masters(), read_parameter_block(checkpoint.model(), store));
  if (optimizer.ema().present())
    to_device(backend, optimizer.ema(), read_parameter_block(checkpoint.file(kEmaFile), store));
  to_device(backend, optimizer.first_moments(), read_parameter_block(checkpoint.optimizer(), store, "first_moment."));
  to_device(backend, optimizer.second_moments(), read_parameter_block(checkpoint.optimizer(), store, "second_moment."));
  optimizer.load_compute_from(optimizer.masters());
  with_context("while reading the state of " + checkpoint.path.string(), [&] {
    try {
      restore_state(checkpoint, trainer);
    } catch (const Json::exception& error) {
      throw DataError("state.json lacks what this model needs (" + std::string(error.what()) +
                      "); the checkpoint is of another model or version");
    }
  });
}

std::vector<float> read_parameter_block(const io::SafetensorsFile& file, const nn::ParameterStore& store,
                                        const std::string& prefix) {
  std::vector<float> block(static_cast<std::size_t>(store.elements()));
  for (const auto& info : store.infos()) {
    const auto& array = file.require(prefix + info.name, io::ArrayType::float32, dims_of(info.shape));
    const auto values = array.as<float>();
    std::copy(values.begin(), values.end(), block.begin() + static_cast<std::ptrdiff_t>(info.offset));
  }
  return block;
}

std::vector<float> read_trained_weights(const io::Checkpoint& checkpoint, const nn::ParameterStore& store) {
  const auto ema = checkpoint.files.find(kEmaFile);
  return read_parameter_block(ema != checkpoint.files.end() ? ema->second : checkpoint.model(), store);
}

io::Settings settings_of(const ConfigSchema& schema, const std::vector<std::string>& under) {
  io::Settings settings;
  for (const auto& field : schema.fields())
    if (std::any_of(under.begin(), under.end(), [&](const auto& key) { return field.name == key || field.name.starts_with(key + "."); }))
      settings[field.name] = schema.value_text(field);
  return settings;
}

}  // namespace lsd::train
