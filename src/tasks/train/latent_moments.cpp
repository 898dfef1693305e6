// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "frozen_latents_internal.h"
#include "lsd/train/validation.h"

namespace lsd::tasks {
namespace {

// Count, sum and squared sum over all residues. Double holds them to far more digits than float32 latents have.
struct Sums {
  std::vector<double> values;  // count, then sums, then squared sums
  explicit Sums(std::int64_t width) : values(static_cast<std::size_t>(1 + 2 * width)) {}
  void add(float count, std::span<const float> mean, std::span<const float> variance) {
    const auto width = mean.size();
    values[0] += static_cast<double>(count);
    for (std::size_t i = 0; i < width; ++i) {
      const double mu = static_cast<double>(mean[i]), n = static_cast<double>(count);
      values[1 + i] += n * mu;
      values[1 + width + i] += n * (static_cast<double>(variance[i]) + mu * mu);
    }
  }
  train::LatentMoments moments() const {
    const auto width = (values.size() - 1) / 2;
    train::LatentMoments out;
    for (std::size_t i = 0; i < width; ++i) {
      const double mean = values[1 + i] / values[0];
      out.mean.push_back(static_cast<float>(mean));
      out.variance.push_back(static_cast<float>(values[1 + width + i] / values[0] - mean * mean));
    }
    return out;
  }
};

// One group of latents on the device.
struct GroupMemory {
  GroupMemory(Backend& backend, std::int64_t width) {
    const auto padded = (width + 63) / 64 * 64;
    memory = backend.allocate(static_cast<std::size_t>(64 + 2 * padded) * sizeof(float));
    const TensorView all(memory.data(), DType::float32, Shape{64 + 2 * padded}, backend.device());
    count = all.slice(0, 1);
    mean = all.slice(64, width).reshaped(Shape{1, width});
    variance = all.slice(64 + padded, width).reshaped(Shape{1, width});
  }
  DeviceMemory memory;
  TensorView count, mean, variance;
};

data::BatchLoader moment_loader(const train::TrainingJob& job, std::int64_t micro_batches) {
  data::BatchLoaderOptions options;
  const auto shape = train::batch_shape(job);
  options.packing = job.packing;
  options.packing.capacity = shape.capacity;
  options.packing.max_sequences = shape.max_sequences;
  options.packing.seed = train::validation_seed(static_cast<std::uint32_t>(job.run.seed));
  options.content = job.content;
  options.rank = job.world.ranks.rank();
  options.ranks = job.world.ranks.size();
  options.micro_batches = micro_batches == 0 ? kMomentStep : std::min(kMomentStep, micro_batches);
  const auto steps = micro_batches == 0 ? -1 : (micro_batches + options.micro_batches - 1) / options.micro_batches;
  return {job.train, data::one_pass(*job.train, options, steps)};
}

}  // namespace

train::LatentMoments compute_moments(const train::TrainingJob& job, const train::FrozenEncoder& encoder,
                                     std::int64_t micro_batches) {
  auto& backend = job.world.backend;
  train::LatentRunner runner(backend, encoder, nullptr, {}, train::batch_shape(job));
  const GroupMemory group(backend, encoder.width());
  Sums sums(encoder.width());
  float count = 0.0F;
  std::vector<float> mean(static_cast<std::size_t>(encoder.width())), variance(mean.size());
  auto loader = moment_loader(job, micro_batches);
  const WatchScope scope(*job.watchdog, "moments of the latents");
  while (auto step = loader.next()) {
    for (const auto& batch : step->micro_batches) {
      if (batch.sequences.empty()) continue;
      const auto z = runner.run(batch);
      backend.reduce().run(GroupMoments{.z = z,
                                        .row_group = runner.batch().residue_group,
                                        .count = group.count,
                                        .mean = group.mean,
                                        .variance = group.variance});
      backend.copy_to_host(&count, group.count);
      backend.copy_to_host(mean.data(), group.mean);
      backend.copy_to_host(variance.data(), group.variance);
      backend.synchronize();
      sums.add(count, mean, variance);
      job.watchdog->progress();
    }
    loader.recycle(std::move(*step));
  }
  job.world.ranks.all_reduce_sum(std::span<double>(sums.values));
  if (sums.values[0] == 0.0) throw DataError("the training split holds no residues: the latents have no moments");
  return sums.moments();
}

}  // namespace lsd::tasks
