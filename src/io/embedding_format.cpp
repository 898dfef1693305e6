// SPDX-License-Identifier: Apache-2.0
#include "lsd/io/embedding_format.h"

#include <fmt/format.h>

#include "lsd/core/checksum.h"
#include "lsd/core/error.h"

namespace lsd::io {

std::string_view name_of(EmbeddingKind kind) {
  switch (kind) {
    case EmbeddingKind::residues:
      return "residues";
    case EmbeddingKind::means:
      return "means";
    case EmbeddingKind::moments:
      return "moments";
  }
  return "";
}

EmbeddingKind embedding_kind_from_name(std::string_view name) {
  for (const auto kind : {EmbeddingKind::residues, EmbeddingKind::means, EmbeddingKind::moments}) {
    if (name == name_of(kind)) return kind;
  }
  throw DataError(fmt::format("unknown kind of embeddings '{}'", name));
}

std::string EmbeddingIdentity::fingerprint() const {
  return checksum_hex(checksum64(fmt::format("{} {}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}", kEmbeddingFormat,
                                             kEmbeddingVersion, name_of(kind), element, width, specials, representation,
                                             time, input, draws, seed, weights, source, packing)));
}

std::vector<double> EmbeddingMoments::variance() const {
  std::vector<double> result = squared_deviations;
  for (auto& value : result) value = count > 0 ? value / static_cast<double>(count) : 0.0;
  return result;
}

void EmbeddingMoments::add(const EmbeddingMoments& other) {
  if (other.count == 0) return;
  if (count == 0) {
    *this = other;
    return;
  }
  check(mean.size() == other.mean.size(), "moments of the same width");
  const auto here = static_cast<double>(count), there = static_cast<double>(other.count);
  for (std::size_t c = 0; c < mean.size(); ++c) {
    const double step = other.mean[c] - mean[c];
    mean[c] += step * there / (here + there);
    squared_deviations[c] += other.squared_deviations[c] + step * step * here * there / (here + there);
  }
  count += other.count;
}

namespace {

std::int64_t sum_of(const EmbeddingManifest& manifest, std::int64_t EmbeddingPart::*field) {
  std::int64_t sum = 0;
  for (const auto& part : manifest.parts) sum += part.*field;
  return sum;
}

}  // namespace

std::int64_t EmbeddingManifest::records() const {
  return sum_of(*this, &EmbeddingPart::records);
}
std::int64_t EmbeddingManifest::tokens() const {
  return sum_of(*this, &EmbeddingPart::tokens);
}
std::int64_t EmbeddingManifest::residues() const {
  return sum_of(*this, &EmbeddingPart::residues);
}
std::int64_t EmbeddingManifest::overflows() const {
  return sum_of(*this, &EmbeddingPart::overflows);
}

std::string embedding_part_name(std::int64_t index, std::int64_t count) {
  return fmt::format("part-{:05}-of-{:05}.h5", index, count);
}

}  // namespace lsd::io
