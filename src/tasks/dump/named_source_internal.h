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
  std::string oddities = {};  // of a FASTA file: what was read in spite of its form, with counts; empty when nothing
};

NamedSource open_source(const DumpInputConfig& input);

}  // namespace lsd::tasks
