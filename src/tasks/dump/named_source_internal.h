// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sequences with ids, from whatever a dump reads.

#include <functional>
#include <memory>
#include <string>

#include "lsd/data/sequence_source.h"
#include "lsd/tasks/dump_latents.h"

namespace lsd::tasks {

struct NamedSource {
  std::shared_ptr<const data::SequenceSource> sequences;
  std::function<std::string(std::int64_t)> id;
};

NamedSource open_source(const DumpInputConfig& input);

}  // namespace lsd::tasks
