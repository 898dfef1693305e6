// SPDX-License-Identifier: Apache-2.0
#pragma once
// Trains small models through the task functions: shards of synthetic proteins, ranks as threads, any backend.

#include <exception>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "lsd/backends/make_backend.h"
#include "lsd/core/config.h"
#include "lsd/core/philox.h"
#include "lsd/data/alphabet.h"
#include "lsd/tasks/shard.h"
#include "lsd/tasks/train_autoencoder.h"
#include "lsd/tasks/train_diffusion.h"

namespace lsd::testing {

// Runs a task on one thread per rank; throws what the first rank that failed threw.
template <class Config>
tasks::Outcome run_task(tasks::Outcome (*task)(const Config&, tasks::Runtime&), const Config& config, int size = 1,
                        const std::string& backend_name = "reference", bool quiet = true) {
  auto communicators = dist::make_thread_communicators(size);
  std::vector<std::exception_ptr> failures(communicators.size());
  std::vector<tasks::Outcome> outcomes(communicators.size());
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < communicators.size(); ++rank)
    threads.emplace_back([&, rank] {
      auto& ranks = *communicators[rank];
      try {
        const auto backend = backends::make_backend(backend_name, {.threads = 1});
        const auto collectives = size == 1 ? dist::make_single_collectives(*backend)
                                           : dist::make_staged_collectives(*backend, ranks.duplicate());
        const Log log({.quiet = quiet, .root = ranks.is_root(), .rank = ranks.rank(), .ranks = size});
        StopSignal stop;
        tasks::Runtime runtime{
            .ranks = ranks, .stop = stop, .log = log, .backend = backend.get(), .collectives = collectives.get()};
        outcomes[rank] = task(config, runtime);
      } catch (...) {
        failures[rank] = std::current_exception();
      }
    });
  for (auto& thread : threads) thread.join();
  for (const auto& failure : failures)
    if (failure) std::rethrow_exception(failure);
  return outcomes[0];
}

// A shard set of `records` random proteins of 30 .. 30 + spread - 1 residues.
inline std::filesystem::path make_shards(const std::filesystem::path& folder, int records, std::uint32_t spread) {
  std::filesystem::create_directories(folder);
  std::ofstream fasta(folder / "in.fasta");
  const auto key = random_key(7, RandomStream::sample);
  for (int record = 0; record < records; ++record) {
    const auto visit = static_cast<std::uint64_t>(record);
    fasta << ">protein" << record << '\n';
    const auto length = 30 + bounded_from_word(random_word(key, 0, visit), spread);
    for (std::uint32_t i = 0; i < length; ++i)
      fasta << data::kTokens[data::kFirstAminoAcid + bounded_from_word(random_word(key, i + 4, visit), 20)];
    fasta << '\n';
  }
  fasta.close();
  tasks::ShardConfig config;
  config.input.files = {(folder / "in.fasta").string()};
  config.output.directory = (folder / "shards").string();
  config.split.valid = 0.2;
  run_task(tasks::shard, config);
  return folder / "shards";
}

// Seconds in all on the reference backend.
template <class Config>
Config small_training(Config config, const std::filesystem::path& shards, const std::filesystem::path& folder) {
  config.run.directory = folder.string();
  config.data.shards = shards.string();
  config.data.max_length = 64;
  config.training = {.steps = 6, .capacity = 160, .micro_batches = 2, .log_every = 2};
  config.optimizer.warmup_steps = 2;
  config.optimizer.learning_rate = 2e-3;
  config.validation = {.every_steps = 3, .micro_batches = 1, .times = {0.5}};
  config.checkpoint = {.every_steps = 0, .every_minutes = 0, .keep_last = 2};
  return config;
}

inline tasks::TrainAutoencoderConfig small_autoencoder(const std::string& variant, const std::filesystem::path& shards,
                                                       const std::filesystem::path& folder) {
  auto config = small_training(tasks::TrainAutoencoderConfig{}, shards, folder);
  config.model.variant = variant;
  config.model.width = 16;
  config.model.heads = 2;
  config.model.encoder_layers = config.model.decoder_layers = 1;
  config.model.min_count = 4;
  return config;
}

inline tasks::TrainDiffusionConfig small_diffusion(const std::filesystem::path& autoencoder,
                                                   const std::filesystem::path& shards,
                                                   const std::filesystem::path& folder) {
  auto config = small_training(tasks::TrainDiffusionConfig{}, shards, folder);
  config.model.width = 16;
  config.model.heads = 2;
  config.model.layers = 1;
  config.model.time_features = 8;
  config.latents.autoencoder = autoencoder.string();
  config.latents.moment_micro_batches = 4;
  return config;
}

}  // namespace lsd::testing
