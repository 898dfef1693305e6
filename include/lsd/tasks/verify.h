// SPDX-License-Identifier: Apache-2.0
#pragma once
// Checks every artefact below the folders given (shard sets, checkpoints, dumps of latents, probe sweeps: whatever is
// there) against what it says of itself: all files there, sizes, checksums, fingerprints, counts that add up. Files are
// spread over ranks and read by several threads each, once, front to back. Each problem is one line naming file and
// place; nothing is changed.

#include <cstdint>
#include <string>
#include <vector>

#include "lsd/core/config_field.h"
#include "lsd/tasks/runtime.h"

namespace lsd::tasks {

struct VerifyConfig {
  std::vector<std::string> folders = {};
  std::string json;
  std::int64_t threads = 4;

  static void visit(auto& self, auto&& field) {
    field("folders", self.folders,
          {.help = "folders to search, with their subfolders; plain words on the command line are folders too",
           .required = true});
    field("json", self.json, {.help = "also write the report to this file, as JSON"});
    field("threads", self.threads,
          {.help = "files that each rank reads at once: some disks need several to reach their rate",
           .min = 1,
           .max = 256});
  }
};

// Outcome::failed when there is any problem. Throws UserError when there is nothing to verify.
Outcome verify(const VerifyConfig& config, Runtime& runtime);

}  // namespace lsd::tasks
