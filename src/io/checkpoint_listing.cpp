// SPDX-License-Identifier: Apache-2.0
#include "lsd/io/checkpoint_listing.h"

#include "checkpoint_layout_internal.h"
#include "lsd/core/atomic_file.h"

namespace lsd::io {

CheckpointListing list_checkpoint(const std::filesystem::path& folder) {
  const auto path = folder / kStateFile;
  auto [state, files] = parse_state(path, read_text_file(path));
  return {std::move(state), std::move(files)};
}

bool is_checkpoint_name(const std::string& name, std::int64_t& step) {
  const auto found = step_of_name(name);
  if (found) step = *found;
  return found.has_value();
}

}  // namespace lsd::io
