// SPDX-License-Identifier: Apache-2.0
#pragma once
// Tokenised sequences by number, as the loader sees them: a split of a shard set (memory-mapped), or memory in tests.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lsd::data {

class SequenceSource {
 public:
  virtual ~SequenceSource() = default;
  virtual std::int64_t size() const = 0;
  virtual std::int32_t length(std::int64_t index) const = 0;  // residues, without <cls> and <eos>
  virtual std::span<const std::uint8_t> residues(
      std::int64_t index) const = 0;            // token ids; valid while the source lives
  virtual std::string fingerprint() const = 0;  // of the data, for artefacts made from it
};

std::unique_ptr<SequenceSource> make_memory_source(std::vector<std::vector<std::uint8_t>> sequences);

}  // namespace lsd::data
