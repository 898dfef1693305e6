// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/checkpointing.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lsd/core/build_info.h"
#include "lsd/core/json_text.h"

namespace lsd::train {
namespace {

using Json = nlohmann::ordered_json;

std::vector<std::int64_t> dims_of(const Shape& shape) {
  std::vector<std::int64_t> dims;
  for (int axis = 0; axis < shape.rank(); ++axis) dims.push_back(shape[axis]);
  return dims;
}

// Views of one host block, parameter by parameter.
void append_arrays(std::vector<io::NamedArray>& arrays, const nn::ParameterStore& store, std::span<const float> block,
                   const std::string& prefix) {
  for (const auto& info : store.infos())
    arrays.push_back(io::named_floats(
        prefix + info.name, dims_of(info.shape),
        block.subspan(static_cast<std::size_t>(info.offset), static_cast<std::size_t>(info.shape.elements()))));
}

Json skipped_json(const std::vector<SkippedStep>& skipped) {
  Json list = Json::array();
  for (const auto& skip : skipped)
    list.push_back({skip.step, skip.first_visit, skip.end_visit, static_cast<int>(skip.verdict)});
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
                {"rollbacks", state.rollbacks},
                {"recent_first_visits", state.recent_first_visits},
                {"guard", trainer.guard().state()},
                {"metric_sums", gathered_sums(trainer)}};
  if (trainer.sampler()) extra["importance_sampler"] = trainer.sampler()->state();
  return extra;
}

void write_arrays(io::CheckpointWriter& writer, const Snapshot& snapshot, const nn::ParameterStore& store,
                  const std::function<void()>& on_file) {
  const auto write_block = [&](const char* file, std::span<const float> block) {
    std::vector<io::NamedArray> arrays;
    append_arrays(arrays, store, block, "");
    writer.write(file, arrays);
    on_file();
  };
  write_block(kModelFile, snapshot.masters);
  if (!snapshot.ema.empty()) write_block(kEmaFile, snapshot.ema);
  std::vector<io::NamedArray> arrays;
  append_arrays(arrays, store, snapshot.first_moments, "first_moment.");
  append_arrays(arrays, store, snapshot.second_moments, "second_moment.");
  writer.write(kOptimizerFile, arrays);
  on_file();
}

// Of a list [step, first_visit, end_visit, verdict]; runs before the guard wrote no verdict.
SkippedStep skipped_from(const Json& skip) {
  const auto verdict = skip.size() > 3 ? skip.at(3).get<int>() : static_cast<int>(Verdict::not_finite);
  return {skip.at(0), skip.at(1), skip.at(2), static_cast<Verdict>(verdict)};
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
  for (const auto& skip : extra.at("skipped_steps")) state.skipped.push_back(skipped_from(skip));
  state.rollbacks = extra.value("rollbacks", std::int64_t{0});
  state.recent_first_visits = extra.value("recent_first_visits", std::vector<std::int64_t>{});
  state.skipped_visits = checkpoint.state.skipped_visits;
  trainer.guard().set_state(extra.value("guard", std::vector<double>{}));
  restore_sums(extra.at("metric_sums"), trainer);
  if (trainer.sampler()) trainer.sampler()->set_state(extra.at("importance_sampler").get<std::vector<double>>());
}

}  // namespace

void take_snapshot(Trainer& trainer, const RunIdentity& identity, Snapshot& snapshot) {
  const auto extra = extra_json(trainer);
  auto& ranks = trainer.world().ranks;
  const auto& optimizer = trainer.optimizer();
  optimizer.gather(ranks, optimizer.masters(), snapshot.masters);
  if (optimizer.ema().present()) optimizer.gather(ranks, optimizer.ema(), snapshot.ema);
  optimizer.gather(ranks, optimizer.first_moments(), snapshot.first_moments);
  optimizer.gather(ranks, optimizer.second_moments(), snapshot.second_moments);
  if (!ranks.is_root()) return;
  snapshot.state = {.step = trainer.state().step,
                    .next_visit = trainer.state().end_visit,
                    .skipped_visits = trainer.state().skipped_visits,
                    .config = identity.settings,
                    .config_text = identity.config_text,
                    .fingerprints = identity.fingerprints,
                    .versions = {{"program", std::string(version())}, {"git_revision", std::string(git_revision())}},
                    .extra_json = json_text(extra)};
}

std::filesystem::path write_snapshot(io::CheckpointWriter& writer, const Snapshot& snapshot,
                                     const nn::ParameterStore& store, const RunIdentity& identity,
                                     const std::function<void()>& on_file) {
  std::uint64_t bytes = snapshot.bytes();
  for (const auto& [name, arrays] : identity.files)
    for (const auto& array : arrays) bytes += array.bytes.size();
  writer.begin(snapshot.state.step, bytes);
  write_arrays(writer, snapshot, store, on_file);
  for (const auto& [name, arrays] : identity.files) writer.write(name, arrays);
  return writer.commit(snapshot.state);
}

void restore_checkpoint(const io::Checkpoint& checkpoint, Trainer& trainer, const RunIdentity& identity) {
  io::require_same_config(checkpoint, identity.settings);
  for (const auto& [what, fingerprint] : identity.fingerprints) {
    const auto found = checkpoint.state.fingerprints.find(what);
    if (found != checkpoint.state.fingerprints.end() && found->second != fingerprint)
      throw UserError("checkpoint " + checkpoint.path.string() + " was made with another " + what + " (fingerprint " +
                      found->second + ", now " + fingerprint + "); use the same one, or a new run directory");
  }
  auto& optimizer = trainer.optimizer();
  const auto& store = trainer.model().parameters();
  optimizer.load(optimizer.masters(), read_parameter_block(checkpoint.model(), store));
  if (optimizer.ema().present())
    optimizer.load(optimizer.ema(), read_parameter_block(checkpoint.file(kEmaFile), store));
  optimizer.load(optimizer.first_moments(), read_parameter_block(checkpoint.optimizer(), store, "first_moment."));
  optimizer.load(optimizer.second_moments(), read_parameter_block(checkpoint.optimizer(), store, "second_moment."));
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
    if (!schema.is_as_before(field) && std::any_of(under.begin(), under.end(), [&](const auto& key) {
          return field.name == key || field.name.starts_with(key + ".");
        }))
      settings[field.name] = schema.value_text(field);
  return settings;
}

}  // namespace lsd::train
