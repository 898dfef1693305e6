// SPDX-License-Identifier: Apache-2.0
#pragma once
// Checkpoints of tiny models with random weights, a FASTA file and a task table, for tests of the stages after
// training; and a way to run a task on several ranks that are threads.

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "lsd/backends/make_backend.h"
#include "lsd/core/checksum.h"
#include "lsd/core/philox.h"
#include "lsd/io/checkpoint.h"
#include "lsd/models/build_model.h"
#include "lsd/tasks/runtime.h"
#include "lsd/train/checkpointing.h"
#include "lsd/train/latent_moments.h"

namespace lsd::testing {

constexpr std::int64_t kTinyWidth = 16;

template <class ModelConfig>
struct TinySection {
  ModelConfig model;
  static void visit(auto& self, auto&& field) { field.section("model", self.model); }
};

template <class ModelConfig>
io::Settings settings_of_model(const ModelConfig& model) {
  TinySection<ModelConfig> section{model};
  return train::settings_of(describe(section), {"model"});
}

// Every parameter from a normal of this deviation, norms' gains around 1: nothing stays at zero as it is initialised.
inline std::vector<float> random_weights(const nn::ParameterStore& store, std::uint32_t seed) {
  std::vector<float> values(static_cast<std::size_t>(store.elements()));
  for (const auto& info : store.infos()) {
    for (std::int64_t i = 0; i < info.shape.elements(); ++i) {
      const auto element = static_cast<std::uint32_t>(info.offset + i);
      const float noise = 2.0F * random_uniform(random_key(seed, RandomStream::init), element, 0) - 1.0F;
      values[element] = (info.init.kind == nn::Init::Kind::ones ? 1.0F : 0.0F) + 0.3F * noise;
    }
  }
  return values;
}

inline std::vector<io::NamedArray> named_weights(const nn::ParameterStore& store, const std::vector<float>& values) {
  std::vector<io::NamedArray> arrays;
  for (const auto& info : store.infos()) {
    std::vector<std::int64_t> shape;
    for (int axis = 0; axis < info.shape.rank(); ++axis) shape.push_back(info.shape[axis]);
    arrays.push_back(io::named_floats(info.name, shape,
                                      std::span(values).subspan(static_cast<std::size_t>(info.offset),
                                                                static_cast<std::size_t>(info.shape.elements()))));
  }
  return arrays;
}

inline void write_tiny_autoencoder(const std::filesystem::path& folder, std::uint32_t seed = 1,
                                   std::string variant = "nm") {
  const models::AutoencoderConfig config{
      .variant = std::move(variant), .width = kTinyWidth, .heads = 2, .encoder_layers = 1, .decoder_layers = 1};
  const auto model = models::build_autoencoder(config);
  const auto weights = random_weights(model->parameters(), seed);
  io::CheckpointWriter writer(folder / "checkpoints", 1);
  writer.begin(1);
  writer.write("model.safetensors", named_weights(model->parameters(), weights));
  writer.commit({.step = 1, .config = settings_of_model(config)});
}

inline void write_tiny_diffusion(const std::filesystem::path& folder, const std::filesystem::path& autoencoder,
                                 std::uint32_t seed = 2) {
  const models::DenoiserConfig config{.width = kTinyWidth, .heads = 2, .layers = 1, .time_features = 8};
  const auto model = models::build_denoiser(config, kTinyWidth);
  const auto weights = random_weights(model->parameters(), seed),
             average = random_weights(model->parameters(), seed + 1);
  const train::LatentMoments moments{std::vector<float>(kTinyWidth, 0.1F), std::vector<float>(kTinyWidth, 4.0F)};
  const auto encoder = checksum_hex(io::open_checkpoint_at(autoencoder).model().checksum());
  io::CheckpointWriter writer(folder / "checkpoints", 1);
  writer.begin(1);
  writer.write("model.safetensors", named_weights(model->parameters(), weights));
  writer.write("ema.safetensors", named_weights(model->parameters(), average));
  writer.write(train::kMomentsFile, train::named_moments(moments));
  writer.commit({.step = 1, .config = settings_of_model(config), .fingerprints = {{"autoencoder", encoder}}});
}

inline std::string random_letters(std::size_t length, std::uint64_t visit) {
  constexpr std::string_view kLetters = "LAGVSERTIDPKQNFYMHWC";
  std::string text;
  for (std::size_t i = 0; i < length; ++i) {
    text += kLetters[bounded_from_word(
        random_word(random_key(5, RandomStream::sample), static_cast<std::uint32_t>(i), visit), 20)];
  }
  return text;
}

inline void write_fasta(const std::filesystem::path& file, const std::vector<std::size_t>& lengths) {
  std::ofstream out(file);
  for (std::size_t i = 0; i < lengths.size(); ++i)
    out << ">p" << i << " a protein\n" << random_letters(lengths[i], i) << "\n";
}

// Runs `task` on `ranks` threads, each with a backend of its own, and gives rank 0's outcome.
inline tasks::Outcome run_on_ranks(int ranks, const std::function<tasks::Outcome(tasks::Runtime&)>& task,
                                   bool stop_at_once = false) {
  auto communicators = dist::make_thread_communicators(ranks);
  std::vector<tasks::Outcome> outcomes(static_cast<std::size_t>(ranks));
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      const auto slot = static_cast<std::size_t>(rank);
      try {
        const auto backend = backends::make_cpu_backend({.threads = 1});
        StopSignal stop;
        if (stop_at_once) stop.request();
        const Log log({.quiet = true, .root = rank == 0, .rank = rank, .ranks = ranks});
        tasks::Runtime runtime{.ranks = *communicators[slot], .stop = stop, .log = log, .backend = backend.get()};
        outcomes[slot] = task(runtime);
      } catch (...) {
        errors[slot] = std::current_exception();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& error : errors) {
    if (error) std::rethrow_exception(error);
  }
  return outcomes.front();
}

}  // namespace lsd::testing
