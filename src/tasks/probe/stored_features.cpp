// SPDX-License-Identifier: Apache-2.0
#include "stored_features_internal.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <unordered_map>

#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/io/embedding_reader.h"
#include "lsd/tensor/dtype.h"

namespace lsd::tasks {
namespace {

constexpr std::size_t kNamed = 5;  // missing ids that an error lists

bool same_features(const io::EmbeddingIdentity& a, const io::EmbeddingIdentity& b) {
  return a.kind == b.kind && a.element == b.element && a.width == b.width && a.specials == b.specials &&
         a.input == b.input && a.draws == b.draws && a.seed == b.seed && a.weights == b.weights;
}

// Takes the vectors of a task's sequences out of dumps.
class FeatureSearch {
 public:
  FeatureSearch(const data::Task& task, std::int64_t width) : task_(task), found_(task.sequences.size()) {
    features_.width = width;
    features_.values.resize(task.sequences.size() * static_cast<std::size_t>(width));
    for (std::size_t i = 0; i < task.sequences.size(); ++i) {
      by_hash_.emplace(checksum64(std::as_bytes(std::span(task.sequences[i]))), i);
      by_id_.emplace(task.sequence_ids[i], i);
    }
  }

  void search(const io::EmbeddingReader& reader) {
    std::int64_t first = 0;
    for (const auto& part : reader.parts()) {
      const auto hashes = part.sequence_hashes();
      for (std::int64_t i = 0; i < part.entry().records; ++i) {
        const auto hash = hashes.empty() ? std::optional<std::uint64_t>() : hashes[static_cast<std::size_t>(i)];
        if (const auto sequence = sequence_of(reader, first + i, hash)) take(reader, first + i, *sequence);
      }
      first += part.entry().records;
    }
  }

  SequenceFeatures finish(const StoredFeatureSet& set) {
    std::vector<std::string> missing;
    std::size_t others = 0;
    for (std::size_t i = 0; i < found_.size(); ++i) {
      if (found_[i]) continue;
      missing.push_back(task_.sequence_ids[i]);
      others += other_sequences_.contains(i) ? 1 : 0;
    }
    if (missing.empty()) return std::move(features_);
    const auto count = missing.size();
    missing.resize(std::min(count, kNamed));
    std::vector<std::string> folders;
    for (const auto& folder : set.folders) folders.push_back(folder.string());
    throw DataError(fmt::format(
        "{} of the task's {} sequences are not in the dumps {}: {}{}{}; dump them too (lsd_dump_latents "
        "--input.task=...) and name that folder as well",
        count, found_.size(), fmt::join(folders, ", "), fmt::join(missing, ", "), count > kNamed ? ", ..." : "",
        others > 0 ? fmt::format(" ({} of them are there under their id, with another sequence)", others) : ""));
  }

 private:
  // The task's sequence that a record holds, if it is wanted and was not found before.
  std::optional<std::size_t> sequence_of(const io::EmbeddingReader& reader, std::int64_t record,
                                         std::optional<std::uint64_t> hash) {
    const auto length = static_cast<std::size_t>(reader.tokens(record) - (reader.manifest().identity.specials ? 2 : 0));
    const auto fits = [&](std::size_t i) { return task_.sequences[i].size() == length; };
    if (hash) {
      const auto found = by_hash_.find(*hash);
      if (found != by_hash_.end() && fits(found->second))
        return found_[found->second] ? std::nullopt : std::optional(found->second);
    }
    const auto named = by_id_.find(std::string(reader.id(record)));
    if (named == by_id_.end() || found_[named->second]) return std::nullopt;
    if (!hash && fits(named->second)) return named->second;
    other_sequences_.emplace(named->second, record);
    return std::nullopt;
  }

  void take(const io::EmbeddingReader& reader, std::int64_t record, std::size_t sequence) {
    const auto& identity = reader.manifest().identity;
    const auto width = static_cast<std::size_t>(features_.width);
    float* to = features_.values.data() + sequence * width;
    found_[sequence] = true;
    if (identity.kind == io::EmbeddingKind::means) {
      std::memcpy(to, reader.rows(record, 0, 1).data(), width * sizeof(float));
      return;
    }
    const std::int64_t around = identity.specials ? 1 : 0, length = reader.tokens(record) - 2 * around;
    const auto bytes = reader.rows(record, around, length);
    std::vector<double> sum(width);
    for (std::size_t row = 0; row < static_cast<std::size_t>(length); ++row) {
      for (std::size_t c = 0; c < width; ++c) sum[c] += value(bytes, row * width + c, identity);
    }
    for (std::size_t c = 0; c < width; ++c) to[c] = static_cast<float>(sum[c] / static_cast<double>(length));
  }

  static double value(std::span<const std::byte> bytes, std::size_t i, const io::EmbeddingIdentity& identity) {
    if (identity.element == "float16") {
      std::uint16_t bits = 0;
      std::memcpy(&bits, bytes.data() + 2 * i, sizeof bits);
      return float_from_float16(bits);
    }
    float x = 0;
    std::memcpy(&x, bytes.data() + 4 * i, sizeof x);
    return x;
  }

  const data::Task& task_;
  SequenceFeatures features_;
  std::vector<bool> found_;
  std::unordered_map<std::uint64_t, std::size_t> by_hash_;
  std::unordered_map<std::string, std::size_t> by_id_;
  std::unordered_map<std::size_t, std::int64_t> other_sequences_;  // wanted under an id that has another sequence
};

}  // namespace

std::string StoredFeatureSet::origin() const {
  const auto pooled = identity.kind == io::EmbeddingKind::residues ? " mean of " + identity.element + " residues" : "";
  return identity.weights + " " + identity.packing + pooled;
}

std::vector<StoredFeatureSet> stored_feature_sets(const std::vector<std::string>& folders) {
  std::vector<StoredFeatureSet> sets;
  for (const auto& folder : folders) {
    const auto identity = io::read_embedding_manifest(folder).identity;
    if (identity.kind == io::EmbeddingKind::moments)
      throw UserError(folder + " holds moments only: dump means or residues to probe them");
    const auto set = std::ranges::find_if(sets, [&](const StoredFeatureSet& other) {
      return other.identity.representation == identity.representation && other.identity.time == identity.time;
    });
    if (set == sets.end()) {
      sets.push_back({identity, {folder}});
    } else if (same_features(set->identity, identity)) {
      set->folders.emplace_back(folder);
    } else {
      throw UserError(
          fmt::format("{} and {} hold the representation {} at t = {} of different models or options: probe "
                      "them in run directories of their own",
                      set->folders.front().string(), folder, identity.representation, identity.time));
    }
  }
  return sets;
}

SequenceFeatures read_stored_features(const StoredFeatureSet& set, const data::Task& task) {
  FeatureSearch search(task, set.identity.width);
  for (const auto& folder : set.folders) search.search(io::EmbeddingReader(folder));
  return search.finish(set);
}

}  // namespace lsd::tasks
