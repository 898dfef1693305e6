// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a checkpoint says it consists of, without opening its arrays: for whoever checks the files in an order of his
// own.

#include <filesystem>
#include <vector>

#include "lsd/io/checkpoint.h"

namespace lsd::io {

struct CheckpointListing {
  CheckpointState state;
  std::vector<WrittenFile> files;
};

// Throws DataError when the state file is missing, damaged or of another version.
CheckpointListing list_checkpoint(const std::filesystem::path& folder);
// True for the name of a checkpoint's folder; gives its step.
bool is_checkpoint_name(const std::string& name, std::int64_t& step);

}  // namespace lsd::io
