// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/validation.h"

#include <fmt/format.h>

#include <algorithm>

#include "lsd/core/philox.h"

namespace lsd::train {
namespace {

constexpr std::int64_t kMicroBatchesAtOnce = 16;  // bounds the host memory that the loader holds

// Weights for use while it lives; the trained ones come back behind it.
class MovingAverageScope {
 public:
  explicit MovingAverageScope(OptimizerState& optimizer) : optimizer_(optimizer) {
    if (optimizer_.ema().present()) optimizer_.load_compute_from(optimizer_.ema());
  }
  ~MovingAverageScope() {
    if (optimizer_.ema().present()) optimizer_.load_compute_from(optimizer_.masters());
  }
  MovingAverageScope(const MovingAverageScope&) = delete;
  MovingAverageScope& operator=(const MovingAverageScope&) = delete;

 private:
  OptimizerState& optimizer_;
};

data::BatchLoader make_loader(const Trainer& trainer, const ValidationOptions& options, std::uint32_t seed) {
  auto loader = options.loader;
  const std::int64_t groups = (options.micro_batches + kMicroBatchesAtOnce - 1) / kMicroBatchesAtOnce;
  loader.micro_batches = (options.micro_batches + groups - 1) / groups;
  loader.rank = trainer.world().ranks.rank();
  loader.ranks = trainer.world().ranks.size();
  loader.packing.seed = seed;
  loader.packing.skipped_visits.clear();
  loader.content.seed = seed;
  loader.first_visit = 0;
  loader.read_ahead_steps = 1;
  return {options.source, data::one_pass(*options.source, loader, groups)};
}

// Values in the order of `specs`.
void add_values(const std::vector<models::MetricSpec>& specs, const NamedValues& values,
                const std::optional<float>& time, NamedValues& out) {
  for (std::size_t i = 0; i < specs.size(); ++i) {
    const auto& [name, value] = values[i];
    if (!time)
      out.emplace_back(name, value);
    else if (specs[i].at_fixed_times)
      out.emplace_back(fmt::format("{}@{:g}", name, *time), value);
  }
}

}  // namespace

std::uint32_t validation_seed(std::uint32_t run_seed) {
  return random_word(random_key(run_seed, RandomStream::validation), 0, 0);
}

NamedValues validate(Trainer& trainer, const ValidationOptions& options) {
  const auto seed = validation_seed(options.run_seed);
  const MovingAverageScope weights(trainer.optimizer());
  std::vector<std::optional<float>> times = {std::nullopt};
  for (const double time : options.fixed_times) times.emplace_back(static_cast<float>(time));
  std::vector<MetricSums> sums(times.size(), trainer.new_sums());
  auto loader = make_loader(trainer, options, seed);
  while (auto step = loader.next()) {
    for (auto& batch : step->micro_batches)
      for (std::size_t i = 0; i < times.size() && !batch.sequences.empty(); ++i)
        trainer.evaluate(batch, seed, times[i], sums[i]);
    loader.recycle(std::move(*step));
  }
  const auto specs = trainer.model().metrics();
  NamedValues out;
  for (std::size_t i = 0; i < times.size(); ++i)
    add_values(specs, sums[i].reduced(trainer.world().ranks), times[i], out);
  return out;
}

}  // namespace lsd::train
