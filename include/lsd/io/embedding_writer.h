// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writes one part of a dump, row block by row block, whole or not at all: under a partial name, checksummed, synced,
// put in its place by finish(), unless a part is there already: of several writers of one part one succeeds. A writer
// that is destroyed before finish() leaves nothing.

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lsd/io/embedding_format.h"

namespace lsd::io {

struct EmbeddingPartPlan {
  std::int64_t index = 0, count = 0;  // this part among how many
  std::int64_t first_record = 0;
  std::vector<std::uint64_t> offsets;  // [records + 1]: token rows of each record, specials included
  std::vector<std::string> ids;        // [records]
  std::int64_t residues = 0;
  std::vector<std::uint64_t> sequence_hashes = {};  // [records]: XXH3-64 of each record's residues as token ids
};

// Where a part is written and when it may be put in its place; by default beside it, at once.
struct PartPlacement {
  std::filesystem::path partial = {};
  std::function<void()> before_commit = [] {};  // throws to prevent it
};

class EmbeddingWriter {
 public:
  EmbeddingWriter(const std::filesystem::path& folder, const EmbeddingIdentity& identity, EmbeddingPartPlan plan,
                  PartPlacement placement = {});
  ~EmbeddingWriter();
  EmbeddingWriter(const EmbeddingWriter&) = delete;
  EmbeddingWriter& operator=(const EmbeddingWriter&) = delete;

  // The next rows, in record order, in identity.element: `rows` is a whole number of rows. Not for moments dumps.
  void append(std::span<const std::byte> rows);
  // Throws InternalError unless every row of the plan was appended.
  EmbeddingPart finish(const EmbeddingMoments& moments, std::int64_t overflows);
  // After finish(): false when another writer's part was there first; this one's is gone then.
  bool committed() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lsd::io
