// SPDX-License-Identifier: Apache-2.0
#include "lsd/train/capacity_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "lsd/core/host_memory.h"

namespace lsd::train {
namespace {

constexpr auto kUnknown = std::numeric_limits<std::int64_t>::max();

std::int64_t own_limit(const TrainingJob& job) {
  if (!job.run.memory_limit.empty()) return static_cast<std::int64_t>(bytes_from_text(job.run.memory_limit));
  auto& ranks = job.world.ranks;
  std::int64_t on_machine = ranks.node_rank() + 1;
  ranks.all_reduce_max(std::span(&on_machine, 1));
  const auto free = job.free_memory();
  if (free > static_cast<std::uint64_t>(kUnknown)) return kUnknown;
  const auto share = free / (job.world.backend.device() == Device::host ? static_cast<std::uint64_t>(on_machine) : 1);
  return static_cast<std::int64_t>(share + (job.frozen_in_place ? job.frozen_bytes : 0));
}

std::string bytes_text(std::size_t bytes) {
  return human_bytes(static_cast<double>(bytes));
}

}  // namespace

FittingCapacity largest_capacity(std::size_t limit, std::int64_t least,
                                 const std::function<std::size_t(std::int64_t)>& bytes_of) {
  FittingCapacity fitting{.capacity = least, .bytes = bytes_of(least)};
  if (fitting.bytes > limit) return {.bytes = fitting.bytes};
  auto too_large = kLargestCapacity + kCapacityStep;
  // Doubled until it does not fit, then halved between what does and what does not.
  for (auto step = least; fitting.capacity + kCapacityStep < too_large;) {
    const bool doubling = !fitting.bytes_of_the_next && too_large > kLargestCapacity;
    const auto middle = (fitting.capacity + too_large) / 2 / kCapacityStep * kCapacityStep;
    const auto next = doubling ? std::min(fitting.capacity + step, kLargestCapacity) : middle;
    const auto bytes = bytes_of(next);
    if (bytes <= limit) {
      fitting.capacity = next;
      fitting.bytes = bytes;
      step *= 2;
    } else {
      too_large = next;
      fitting.bytes_of_the_next = bytes;
    }
  }
  return fitting;
}

std::optional<std::size_t> memory_limit(const TrainingJob& job) {
  auto most_negative = -own_limit(job);
  job.world.ranks.all_reduce_max(std::span(&most_negative, 1));
  if (most_negative == -kUnknown) return std::nullopt;
  return static_cast<std::size_t>(-most_negative);
}

FittingCapacity largest_capacity(TrainingJob& job, std::size_t limit) {
  const auto capacity = job.training.capacity;
  const auto bytes_of = [&](std::int64_t tokens) {
    job.training.capacity = tokens;
    return plan_of(job).total_bytes();
  };
  const auto least = std::max<std::int64_t>(job.packing.max_length, 1);
  const auto fitting = largest_capacity(limit, (least + kCapacityStep - 1) / kCapacityStep * kCapacityStep, bytes_of);
  bytes_of(capacity);  // leaves the job's own capacity behind
  return fitting;
}

std::string capacity_text(const FittingCapacity& fitting, std::size_t limit) {
  if (fitting.capacity == 0)
    return fmt::format(
        "no batch fits into {}: the smallest that holds data.max_length takes {}; use "
        "compute.recompute, compute.shard_optimizer, a lower data.max_length or a smaller model",
        bytes_text(limit), bytes_text(fitting.bytes));
  auto text = fmt::format("largest training.capacity that fits into {}: {} tokens ({})", bytes_text(limit),
                          fitting.capacity, bytes_text(fitting.bytes));
  if (fitting.bytes_of_the_next)
    text += fmt::format("; {} would take {}", fitting.capacity + kCapacityStep, bytes_text(*fitting.bytes_of_the_next));
  return text;
}

void require_memory(TrainingJob& job, const MemoryPlan& plan) {
  const auto limit = memory_limit(job);
  if (!limit || plan.total_bytes() <= *limit) return;
  throw UserError(
      fmt::format("one step at training.capacity = {} needs {} of memory on each rank, more than the {} "
                  "that {} has for it; {}",
                  job.training.capacity, bytes_text(plan.total_bytes()), bytes_text(*limit),
                  job.run.memory_limit.empty() ? job.world.backend.description() : "run.memory_limit",
                  capacity_text(largest_capacity(job, *limit), *limit)));
}

}  // namespace lsd::train
