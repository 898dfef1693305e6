// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the heads of one set of features will take.

#include <vector>

#include "../estimate/work_estimate_internal.h"
#include "lsd/dist/host_communicator.h"
#include "lsd/tasks/probe.h"
#include "probe_result_internal.h"

namespace lsd::tasks {

// Multiplications and additions of a head that trains all its epochs: 6 per weight and training row (forward, and twice
// that backward), 2 per weight and validation row.
double head_operations(const ProbeResult& result, const ProbeHeadConfig& head);

// Collective: each rank gives its own missing results of one set of features, of which there are `sequences`. Features
// that a row gathers are counted beside those of the sequences; 4 KiB for each result file. Heads that stop
// early take less.
WorkEstimate estimate_heads(const std::vector<ProbeResult>& missing, const ProbeHeadConfig& head, std::size_t sequences,
                            dist::HostCommunicator& ranks);

}  // namespace lsd::tasks
