// SPDX-License-Identifier: Apache-2.0
#pragma once
// Embeds the sequences of one part and writes its file.

#include "dump_content_internal.h"
#include "lsd/core/log.h"
#include "lsd/core/stop_signal.h"
#include "sequence_embedder_internal.h"

namespace lsd::tasks {

class PartMaker {
 public:
  PartMaker(const DumpContent& content, SequenceEmbedder& embedder, const StopSignal& stop)
      : content_(content), embedder_(embedder), stop_(stop) {}

  enum class Result { committed, was_there, stopped };
  // `on_tokens` hears of every batch's tokens.
  Result make(const std::filesystem::path& folder, std::size_t part, io::PartPlacement placement,
              const std::function<void(std::int64_t)>& on_tokens);

 private:
  std::int64_t append_rows(io::EmbeddingWriter& writer, const std::vector<float>& rows) const;

  const DumpContent& content_;
  SequenceEmbedder& embedder_;
  const StopSignal& stop_;
};

}  // namespace lsd::tasks
