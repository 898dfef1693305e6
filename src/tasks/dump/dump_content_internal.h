// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a dump holds, whoever makes it: follows from models, sequences and options alone.

#include <filesystem>
#include <vector>

#include "dump_parts_internal.h"
#include "lsd/io/embedding_reader.h"
#include "lsd/io/embedding_writer.h"
#include "named_source_internal.h"

namespace lsd::tasks {

struct DumpContent {
  io::EmbeddingIdentity identity;
  NamedSource source;
  std::vector<PartRange> parts;

  std::int64_t residues() const;  // of all records, counted in the source
  std::filesystem::path part_path(const std::filesystem::path& folder, std::size_t part) const;
  io::EmbeddingPartPlan part_plan(std::size_t part) const;
  // Whether a file holds this part: identity, range, and of every record its length, its id and, where they are stored,
  // its sequence.
  bool is_held_by(const io::EmbeddingPartReader& file, std::size_t part) const;
};

}  // namespace lsd::tasks
