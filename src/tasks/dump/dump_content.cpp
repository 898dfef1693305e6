// SPDX-License-Identifier: Apache-2.0
#include "dump_content_internal.h"

#include "lsd/core/checksum.h"

namespace lsd::tasks {
namespace {

std::uint64_t hash_of(const data::SequenceSource& source, std::int64_t record) {
  return checksum64(std::as_bytes(source.residues(record)));
}

}  // namespace

std::int64_t DumpContent::residues() const {
  std::int64_t sum = 0;
  for (std::int64_t record = 0; record < source.sequences->size(); ++record) sum += source.sequences->length(record);
  return sum;
}

std::filesystem::path DumpContent::part_path(const std::filesystem::path& folder, std::size_t part) const {
  return folder / io::embedding_part_name(static_cast<std::int64_t>(part), static_cast<std::int64_t>(parts.size()));
}

io::EmbeddingPartPlan DumpContent::part_plan(std::size_t part) const {
  const auto& range = parts[part];
  io::EmbeddingPartPlan plan{.index = static_cast<std::int64_t>(part),
                             .count = static_cast<std::int64_t>(parts.size()),
                             .first_record = range.begin,
                             .offsets = {0}};
  for (std::int64_t record = range.begin; record < range.end; ++record) {
    const std::int64_t length = source.sequences->length(record);
    plan.residues += length;
    plan.offsets.push_back(plan.offsets.back() + static_cast<std::uint64_t>(length) + 2);
    plan.ids.push_back(source.id(record));
    plan.sequence_hashes.push_back(hash_of(*source.sequences, record));
  }
  return plan;
}

bool DumpContent::is_held_by(const io::EmbeddingPartReader& file, std::size_t part) const {
  const auto& range = parts[part];
  if (file.fingerprint() != identity.fingerprint() || file.entry().first_record != range.begin ||
      file.entry().records != range.end - range.begin || file.entry().tokens != range.tokens)
    return false;
  const auto offsets = file.offsets(), hashes = file.sequence_hashes();
  for (std::int64_t record = range.begin; record < range.end; ++record) {
    const auto i = static_cast<std::size_t>(record - range.begin);
    const auto tokens = static_cast<std::uint64_t>(source.sequences->length(record)) + 2;
    if (offsets[i + 1] - offsets[i] != tokens || file.id(record - range.begin) != source.id(record)) return false;
    if (!hashes.empty() && hashes[i] != hash_of(*source.sequences, record)) return false;
  }
  return true;
}

}  // namespace lsd::tasks
