// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs this rank's share of the checks on several threads.

#include <atomic>
#include <vector>

#include "artefact_internal.h"
#include "lsd/core/log.h"

namespace lsd::tasks::verifying {

struct Share {
  std::vector<const FileCheck*> checks;  // largest first
  std::vector<std::string> kinds;        // of the artefacts they belong to
  std::int64_t bytes = 0;
};
// The files of all artefacts, each to the rank with the least to read so far.
Share share_of_rank(const std::vector<Artefact>& artefacts, int rank, int ranks);

struct CheckOptions {
  int threads = 1;
  const Log& log;
  const StopSignal& stop;
};
// Gives the problems, sorted.
std::vector<Problem> run_checks(const Share& share, const CheckOptions& options);

}  // namespace lsd::tasks::verifying
