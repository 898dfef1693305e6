// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which records stand in which part file of a dump, how big the files get, and which rank makes which.

#include <cstdint>
#include <vector>

#include "lsd/data/sequence_source.h"
#include "lsd/io/embedding_format.h"

namespace lsd::tasks {

struct PartRange {
  std::int64_t begin = 0, end = 0;  // records
  std::int64_t tokens = 0;          // specials included
};

// Consecutive records, closed before the part would exceed `tokens_per_part`: a function of the lengths alone. A source
// without records has one empty part.
std::vector<PartRange> plan_parts(const data::SequenceSource& source, std::int64_t tokens_per_part);
// Longest part first to the rank with the least work so far. Gives each part's rank; -1 for parts that are not
// `missing`.
std::vector<int> assign_parts(const std::vector<PartRange>& parts, const std::vector<bool>& missing, int ranks);
// Of the rows and offsets; heads and checksums add about a thousandth.
std::int64_t bytes_of(const PartRange& part, const io::EmbeddingIdentity& identity);

}  // namespace lsd::tasks
