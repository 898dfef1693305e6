// SPDX-License-Identifier: Apache-2.0
#pragma once
// What lsd_bench runs: a model of the method's sizes, and one packed batch of random sequences.

#include <cstdint>
#include <vector>

#include "lsd/data/batch_loader.h"
#include "lsd/tasks/step_bench.h"
#include "lsd/train/training_run.h"

namespace lsd::tasks {

// For --work dump, a model whose evaluation is the embedding pass: latents, then their means.
train::BuildModel bench_model(const StepBenchConfig& config, std::int64_t rows);

// Of the file, or drawn: log-normal with median 230 residues and at most 1,024 tokens.
std::vector<std::int64_t> bench_lengths(const StepBenchConfig& config);
data::StepBatches bench_batches(const std::vector<std::int64_t>& lengths, const train::BatchShape& shape, bool masked);

}  // namespace lsd::tasks
