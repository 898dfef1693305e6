// SPDX-License-Identifier: Apache-2.0
#pragma once
// The largest packed batch that fits into a device's memory, found by planning walks: nothing is allocated.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "lsd/train/training_run.h"

namespace lsd::train {

inline constexpr std::int64_t kCapacityStep = 64;           // tokens
inline constexpr std::int64_t kLargestCapacity = 16777216;  // of training.capacity

struct FittingCapacity {
  std::int64_t capacity = 0;                     // tokens, a multiple of kCapacityStep; 0: not even the least fits
  std::size_t bytes = 0;                         // that it takes, or that the least would take
  std::optional<std::size_t> bytes_of_the_next;  // with kCapacityStep more; none when no larger one is allowed
};
// `bytes_of` a capacity; assumed not to fall with it. `least` is a multiple of kCapacityStep.
FittingCapacity largest_capacity(std::size_t limit, std::int64_t least,
                                 const std::function<std::size_t(std::int64_t)>& bytes_of);

// What a rank may use on its device: run.memory_limit, or what is free, of a host its share. Collective: the least of
// all ranks; nullopt where nobody knows.
std::optional<std::size_t> memory_limit(const TrainingJob& job);
// Of the job, whatever its own capacity is. The job is left as it was.
FittingCapacity largest_capacity(TrainingJob& job, std::size_t limit);
// Lines below a memory plan.
std::string capacity_text(const FittingCapacity& fitting, std::size_t limit);
// Collective. Throws UserError on all ranks when the plan exceeds what one of them may use, with the capacity that
// fits.
void require_memory(TrainingJob& job, const MemoryPlan& plan);

}  // namespace lsd::train
