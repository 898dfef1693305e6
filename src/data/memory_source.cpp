// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/data/alphabet.h"
#include "lsd/data/sequence_source.h"

namespace lsd::data {
namespace {

class MemorySource final : public SequenceSource {
 public:
  explicit MemorySource(std::vector<std::vector<std::uint8_t>> sequences) : sequences_(std::move(sequences)) {
    ChecksumStream checksum;
    for (std::size_t i = 0; i < sequences_.size(); ++i) {
      const auto& residues = sequences_[i];
      for (const auto token : residues)
        if (token >= kVocabulary)
          throw DataError(fmt::format("sequence {} holds token {}, which is not in the alphabet", i, token));
      const std::uint64_t length = residues.size();
      checksum.add(std::as_bytes(std::span(&length, 1)));
      checksum.add(std::as_bytes(std::span(residues)));
    }
    fingerprint_ = "memory-" + checksum_hex(checksum.value());
  }

  std::int64_t size() const override { return static_cast<std::int64_t>(sequences_.size()); }
  std::int32_t length(std::int64_t index) const override { return static_cast<std::int32_t>(at(index).size()); }
  std::span<const std::uint8_t> residues(std::int64_t index) const override { return at(index); }
  std::string fingerprint() const override { return fingerprint_; }

 private:
  const std::vector<std::uint8_t>& at(std::int64_t index) const {
    check(index >= 0 && index < size(), "a record's number is below the source's size");
    return sequences_[static_cast<std::size_t>(index)];
  }

  std::vector<std::vector<std::uint8_t>> sequences_;
  std::string fingerprint_;
};

}  // namespace

std::unique_ptr<SequenceSource> make_memory_source(std::vector<std::vector<std::uint8_t>> sequences) {
  return std::make_unique<MemorySource>(std::move(sequences));
}

}  // namespace lsd::data
