// SPDX-License-Identifier: Apache-2.0
#pragma once
// Embeds the sequences of one part and writes its file: while the device computes a batch, a thread writes the one
// before. Bytes and errors are those of one after the other.

#include "dump_content_internal.h"
#include "lsd/core/log.h"
#include "lsd/core/stop_signal.h"
#include "sequence_embedder_internal.h"

namespace lsd::tasks {

// Seconds for which one side of a dump stood still for the other.
struct DumpWaits {
  double compute = 0.0;  // had a batch ready, but the one before was still being written
  double disk = 0.0;     // had written everything, but no batch was ready
};

class PartMaker {
 public:
  PartMaker(const DumpContent& content, SequenceEmbedder& embedder, const StopSignal& stop, DumpWaits& waits)
      : content_(content), embedder_(embedder), stop_(stop), waits_(waits) {}

  enum class Result { committed, was_there, stopped };
  // `on_tokens` hears of every batch's tokens.
  Result make(const std::filesystem::path& folder, std::size_t part, io::PartPlacement placement,
              const std::function<void(std::int64_t)>& on_tokens);

 private:
  const DumpContent& content_;
  SequenceEmbedder& embedder_;
  const StopSignal& stop_;
  DumpWaits& waits_;
};

}  // namespace lsd::tasks
