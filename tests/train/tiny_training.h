// SPDX-License-Identifier: Apache-2.0
#pragma once
// A model of a few thousand parameters on a few dozen sequences, trained by the real trainer on threads as ranks.

#include <exception>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "lsd/backends/make_backend.h"
#include "lsd/core/philox.h"
#include "lsd/data/alphabet.h"
#include "lsd/data/sequence_source.h"
#include "lsd/models/build_model.h"
#include "lsd/train/memory_plan.h"
#include "lsd/train/trainer.h"
#include "lsd/train/validation.h"

namespace lsd::testing {

inline std::shared_ptr<const data::SequenceSource> tiny_source(std::int64_t records = 40, std::uint32_t seed = 5) {
  std::vector<std::vector<std::uint8_t>> sequences;
  const auto key = random_key(seed, RandomStream::sample);
  for (std::int64_t record = 0; record < records; ++record) {
    const auto visit = static_cast<std::uint64_t>(record);
    std::vector<std::uint8_t> residues(6 + bounded_from_word(random_word(key, 0, visit), 30));
    for (std::size_t i = 0; i < residues.size(); ++i)
      residues[i] = static_cast<std::uint8_t>(
          data::kFirstAminoAcid + bounded_from_word(random_word(key, static_cast<std::uint32_t>(i + 4), visit), 20));
    sequences.push_back(std::move(residues));
  }
  return data::make_memory_source(std::move(sequences));
}

// Records of one length, so that micro-batches of twice the capacity hold just what two of them do.
inline std::shared_ptr<const data::SequenceSource> even_source(std::int64_t records, std::size_t residues) {
  std::vector<std::vector<std::uint8_t>> sequences;
  const auto key = random_key(6, RandomStream::sample);
  for (std::int64_t record = 0; record < records; ++record) {
    std::vector<std::uint8_t> sequence(residues);
    for (std::size_t i = 0; i < residues; ++i)
      sequence[i] = static_cast<std::uint8_t>(
          data::kFirstAminoAcid +
          bounded_from_word(random_word(key, static_cast<std::uint32_t>(i), static_cast<std::uint64_t>(record)), 20));
    sequences.push_back(std::move(sequence));
  }
  return data::make_memory_source(std::move(sequences));
}

inline models::AutoencoderConfig tiny_autoencoder(const std::string& variant) {
  models::AutoencoderConfig config;
  config.variant = variant;
  config.width = 16;
  config.heads = 2;
  config.encoder_layers = config.decoder_layers = 1;
  config.min_count = 8;
  return config;
}

struct TinyRun {
  std::string variant = "nm";
  std::int64_t steps = 12;
  std::int64_t capacity = 128, micro_batches = 4, records = 40;
  double learning_rate = 5e-3;
  std::int64_t bucket_elements = 1024;
  bool shard = false;  // the optimizer's state
  std::string moments = "micro_batch";
  double lambda = 1.0;
  std::int64_t max_steps_of_schedule = 1000;
  train::GuardOptions guard = {.loss_z = 0.0, .gradient_z = 0.0};  // spikes are part of a fast course; not so NaNs
  std::size_t residues = 0;                                        // of every record; 0: they differ
  std::int64_t validation_micro_batches = 0;                       // at the end; 0: none
  // Wraps a rank's model (to inject faults).
  std::function<std::unique_ptr<models::Model>(std::unique_ptr<models::Model>, int rank)> wrap = {};
};

struct TinyResult {
  std::vector<std::vector<std::pair<std::string, double>>> metrics;  // per step
  std::vector<double> gradient_norms;
  train::NamedValues validation;
  train::TrainerState state;
  std::int64_t buckets = 0, buckets_started_early = 0;
  std::vector<float> masters;  // of rank 0
  std::vector<float> weights;  // that the model computes with
  std::int64_t kept_elements = 0;
};

inline train::BuildModel tiny_builder(const TinyRun& run, int rank) {
  return [run, rank](Backend& backend) {
    auto config = tiny_autoencoder(run.variant);
    config.moments = run.moments;
    config.lambda = run.lambda;
    std::unique_ptr<models::Model> model = models::build_autoencoder(config);
    model->parameters().allocate(backend, DType::float32, true);
    return run.wrap ? run.wrap(std::move(model), rank) : std::move(model);
  };
}

inline data::BatchLoaderOptions tiny_loader(const TinyRun& run, int rank, int ranks) {
  data::BatchLoaderOptions options;
  options.packing.capacity = run.capacity;
  options.packing.max_sequences = 8;
  options.packing.max_length = 32;
  options.packing.seed = options.order.seed = options.content.seed = 3;
  if (run.variant == "mlm") options.content.masking = data::MaskingOptions{};
  options.micro_batches = run.micro_batches;
  options.rank = rank;
  options.ranks = ranks;
  return options;
}

// One rank's part.
inline TinyResult train_tiny_rank(const TinyRun& run, dist::HostCommunicator& ranks) {
  const auto backend = backends::make_reference_backend();
  const auto collectives = ranks.size() == 1 ? dist::make_single_collectives(*backend)
                                             : dist::make_staged_collectives(*backend, ranks.duplicate());
  const train::BatchShape shape{.capacity = run.capacity, .max_sequences = 8, .max_length = 32};
  const auto build = tiny_builder(run, ranks.rank());
  const auto plan = train::plan_memory(*backend, build, {.shape = shape});
  backend->reserve_scratch(plan.scratch_bytes);
  const auto model = build(*backend);
  const train::BlockLayout layout(model->parameters().elements(), ranks.size(), ranks.rank(), run.bucket_elements);
  auto optimizer = run.shard ? train::OptimizerState(*backend, model->parameters(), {}, layout, collectives.get())
                             : train::OptimizerState(*backend, model->parameters(), {});
  optimizer.initialise(model->parameters().initial_values(9));
  train::TrainerOptions options;
  options.learning_rate = {.peak = run.learning_rate, .warmup_steps = 2, .total_steps = run.max_steps_of_schedule};
  options.seed = 3;
  options.guard = run.guard;
  options.bucket_elements = run.bucket_elements;
  train::Trainer trainer({ranks, *collectives, *backend}, *model, optimizer, shape, options, plan.activation_bytes);
  data::BatchLoader loader(run.residues > 0 ? even_source(run.records, run.residues) : tiny_source(run.records),
                           tiny_loader(run, ranks.rank(), ranks.size()));
  TinyResult result;
  while (trainer.state().step < run.steps) {
    auto step = loader.next();
    result.gradient_norms.push_back(trainer.step(*step).gradient_norm);
    result.metrics.push_back(trainer.metrics().reduced(ranks));
    trainer.metrics().clear();
    loader.recycle(std::move(*step));
  }
  if (run.validation_micro_batches > 0)
    result.validation = train::validate(trainer, {.source = tiny_source(30, 77),
                                                  .loader = tiny_loader(run, ranks.rank(), ranks.size()),
                                                  .micro_batches = run.validation_micro_batches,
                                                  .fixed_times = {0.5}});
  result.state = trainer.state();
  result.buckets = trainer.gradient_sync().num_buckets();
  result.buckets_started_early = trainer.gradient_sync().buckets_started_early();
  optimizer.gather(ranks, optimizer.masters(), result.masters);
  const auto compute = model->parameters().compute_block().span<float>();
  result.weights.assign(compute.begin(), compute.end());
  result.kept_elements = optimizer.kept_elements();
  return result;
}

// All ranks, as threads; throws what the first rank that failed threw.
inline std::vector<TinyResult> train_tiny(const TinyRun& run, int ranks) {
  auto communicators = dist::make_thread_communicators(ranks);
  std::vector<TinyResult> results(static_cast<std::size_t>(ranks));
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < results.size(); ++rank)
    threads.emplace_back([&, rank] {
      try {
        results[rank] = train_tiny_rank(run, *communicators[rank]);
      } catch (...) {
        failures[rank] = std::current_exception();
      }
    });
  for (auto& thread : threads) thread.join();
  for (const auto& failure : failures)
    if (failure) std::rethrow_exception(failure);
  return results;
}

}  // namespace lsd::testing
