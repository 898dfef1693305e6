// SPDX-License-Identifier: Apache-2.0
#pragma once
// Losses and accuracies on the validation split. Every validation of a run sees the same crops, masks, noises and times
// (their seed is derived from the run's), so that its numbers can be compared; which micro-batches there are does not
// depend on the number of ranks. The moving average of the weights is used where there is one.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lsd/data/batch_loader.h"
#include "lsd/train/trainer.h"

namespace lsd::train {

struct ValidationOptions {
  std::shared_ptr<const data::SequenceSource> source;
  data::BatchLoaderOptions loader;  // capacity and content as in training; order, ranks and seeds are set here
  std::int64_t micro_batches = 8;   // at most one pass over the split
  std::vector<double> fixed_times = {};
  std::uint32_t run_seed = 1;
};

std::uint32_t validation_seed(std::uint32_t run_seed);

using NamedValues = std::vector<std::pair<std::string, double>>;
// Collective. "loss_recon", ... at the loss's own noise, then "accuracy@0.25", ... at each fixed time: the metrics that
// mean something there (MetricSpec::at_fixed_times).
NamedValues validate(Trainer& trainer, const ValidationOptions& options);

}  // namespace lsd::train
