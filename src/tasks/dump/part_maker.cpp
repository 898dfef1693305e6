// SPDX-License-Identifier: Apache-2.0
#include "part_maker_internal.h"

namespace lsd::tasks {
namespace {

io::EmbeddingMoments moments_of(const EmbeddedBatch& batch) {
  io::EmbeddingMoments moments{.count = batch.plan.residues};
  moments.mean.assign(batch.moment_mean.begin(), batch.moment_mean.end());
  for (const float variance : batch.moment_variance) {
    moments.squared_deviations.push_back(static_cast<double>(variance) * static_cast<double>(moments.count));
  }
  return moments;
}

}  // namespace

PartMaker::Result PartMaker::make(const std::filesystem::path& folder, std::size_t part, io::PartPlacement placement,
                                  const std::function<void(std::int64_t)>& on_tokens) {
  const auto& identity = content_.identity;
  io::EmbeddingWriter writer(folder, identity, content_.part_plan(part), std::move(placement));
  const auto width = static_cast<std::size_t>(identity.width);
  io::EmbeddingMoments moments{.mean = std::vector<double>(width), .squared_deviations = std::vector<double>(width)};
  std::int64_t overflows = 0;
  for (const auto& plan : embedder_.plan(content_.parts[part].begin, content_.parts[part].end)) {
    if (stop_.requested()) return Result::stopped;
    const auto batch = embedder_.run(plan, {.rows = identity.kind == io::EmbeddingKind::residues,
                                            .means = identity.kind == io::EmbeddingKind::means});
    moments.add(moments_of(batch));
    if (identity.kind == io::EmbeddingKind::residues) overflows += append_rows(writer, batch.rows);
    if (identity.kind == io::EmbeddingKind::means) writer.append(std::as_bytes(std::span(batch.means)));
    on_tokens(plan.rows);
  }
  writer.finish(moments, overflows);
  return writer.committed() ? Result::committed : Result::was_there;
}

// Gives how many values do not fit the stored type.
std::int64_t PartMaker::append_rows(io::EmbeddingWriter& writer, const std::vector<float>& rows) const {
  if (content_.identity.element == "float32") {
    writer.append(std::as_bytes(std::span(rows)));
    return 0;
  }
  std::vector<std::uint16_t> halves(rows.size());
  std::int64_t overflows = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    halves[i] = float16_from_float(rows[i]);
    overflows += (halves[i] & 0x7FFFU) == 0x7C00U ? 1 : 0;
  }
  writer.append(std::as_bytes(std::span(halves)));
  return overflows;
}

}  // namespace lsd::tasks
