// SPDX-License-Identifier: Apache-2.0
#pragma once
// Trains one head on one set of features and scores it on the test rows.

#include "lsd/data/task_reader.h"
#include "lsd/tasks/probe_head.h"
#include "probe_features_internal.h"
#include "probe_result_internal.h"

namespace lsd::tasks {

// Fills what came out of `result`; what was probed stands there already.
void evaluate_head(const data::Task& task, const SequenceFeatures& features, const HeadOptions& options,
                   std::int64_t resamples, ProbeResult& result);
// The most frequent class of the training rows (the lowest on ties), or their mean label, for every row.
void evaluate_majority(const data::Task& task, std::int64_t resamples, ProbeResult& result);

}  // namespace lsd::tasks
