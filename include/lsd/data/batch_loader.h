// SPDX-License-Identifier: Apache-2.0
#pragma once
// Hands out one optimizer step after the other: all micro-batches that this rank runs in it, packed on a thread that
// works ahead. What stands in a step depends on (data, options, cursor) alone, not on the rank count, save for which
// rank holds it.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "lsd/data/host_batch.h"
#include "lsd/data/packing.h"
#include "lsd/data/sample_order.h"

namespace lsd::data {

struct BatchLoaderOptions {
  SampleOrderOptions order = {};
  PackingOptions packing = {};
  BatchContent content = {};       // `specials` is taken from `packing`
  std::int64_t micro_batches = 1;  // of a global batch
  int rank = 0, ranks = 1;
  std::int64_t first_visit = 0;  // cursor to go on from: StepBatches::end_visit of the last step done
  std::int64_t max_steps = -1;   // -1: until packing.end_visit, or for ever
  int read_ahead_steps = 2;
  HostAllocate allocate = {};
  // Runs on the loader's thread for every micro-batch (also empty ones), after it is filled.
  std::function<void(HostBatch&)> decorate = {};
};

struct StepBatches {
  std::int64_t first_visit = 0, end_visit = 0;                       // cursor before and after
  std::int64_t num_tokens = 0, num_residues = 0, num_sequences = 0;  // of the whole global batch, over all ranks
  std::vector<HostBatch> micro_batches;  // this rank's; equally many on every rank, some may be empty
};

class BatchLoader {
 public:
  BatchLoader(std::shared_ptr<const SequenceSource> source, BatchLoaderOptions options);
  ~BatchLoader();

  // Waits for the next step; nullopt at the end. An error of the loading thread is thrown here, once its turn comes.
  std::optional<StepBatches> next();
  // Gives the memory of a step that is done with back for reuse. Optional.
  void recycle(StepBatches&& step);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Options of a fixed pass over a source in record order, once, for validation; `max_steps` -1: all of it.
BatchLoaderOptions one_pass(const SequenceSource& source, BatchLoaderOptions options, std::int64_t max_steps = -1);

}  // namespace lsd::data
