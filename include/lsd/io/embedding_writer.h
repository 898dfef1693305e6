// SPDX-License-Identifier: Apache-2.0
#pragma once
// Writes one part of a dump, row block by row block, whole or not at all: under a partial name, checksummed, synced,
// renamed by finish(). A writer that is destroyed before finish() leaves nothing.

#include <cstddef>
#include <filesystem>
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
};

class EmbeddingWriter {
 public:
  EmbeddingWriter(const std::filesystem::path& folder, const EmbeddingIdentity& identity, EmbeddingPartPlan plan);
  ~EmbeddingWriter();
  EmbeddingWriter(const EmbeddingWriter&) = delete;
  EmbeddingWriter& operator=(const EmbeddingWriter&) = delete;

  // The next rows, in record order, in identity.element: `rows` is a whole number of rows. Not for moments dumps.
  void append(std::span<const std::byte> rows);
  // Throws InternalError unless every row of the plan was appended.
  EmbeddingPart finish(const EmbeddingMoments& moments, std::int64_t overflows);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lsd::io
