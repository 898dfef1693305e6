// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "artefact_internal.h"
#include "lsd/core/checksum.h"
#include "lsd/io/shard_manifest.h"
#include "lsd/io/shard_reader.h"

namespace fs = std::filesystem;

namespace lsd::tasks::verifying {
namespace {

std::int64_t value_of(const io::NamedCounts& counts, const std::string& name) {
  const auto found = std::ranges::find(counts, name, &io::NamedCounts::value_type::first);
  return found == counts.end() ? 0 : found->second;
}

// read = kept + dropped, for records and for residues.
std::string check_counts(const io::NamedCounts& counts, const std::string& whose) {
  for (const std::string unit : {"_records", "_residues"}) {
    std::int64_t sum = value_of(counts, "kept" + unit);
    for (const auto& [name, count] : counts) {
      if (name.starts_with("dropped_") && name.ends_with(unit)) sum += count;
    }
    const auto read = value_of(counts, "read" + unit);
    if (sum != read)
      return fmt::format("the counts of {} do not add up: read{} is {}, kept and dropped are {}", whose, unit, read,
                         sum);
  }
  return "";
}

std::string check_sums(const io::ShardManifest& manifest) {
  std::map<std::string, std::int64_t> sums;
  for (const auto& input : manifest.inputs) {
    if (auto problem = check_counts(input.counts, input.name); !problem.empty()) return problem;
    for (const auto& [name, count] : input.counts) sums[name] += count;
  }
  if (auto problem = check_counts(manifest.counts, "all inputs"); !problem.empty()) return problem;
  for (const auto& [name, count] : manifest.counts) {
    if (sums[name] != count) return fmt::format("'{}' is {} and its inputs add up to {}", name, count, sums[name]);
  }
  std::int64_t records = 0, residues = 0;
  for (const auto& split : manifest.splits) {
    records += split.records();
    residues += split.residues();
  }
  const auto kept_records = value_of(manifest.counts, "kept_records");
  const auto kept_residues = value_of(manifest.counts, "kept_residues");
  if (records == kept_records && residues == kept_residues) return "";
  return fmt::format("the shards hold {} records and {} residues where {} and {} were kept", records, residues,
                     kept_records, kept_residues);
}

struct ShardCheck {
  std::shared_ptr<const io::ShardManifest> manifest;
  fs::path file;
  std::string split;
  std::size_t index = 0, count = 0;
  io::ShardEntry entry;

  std::string operator()(Reading& reading) const {
    const auto checksum = reading.scan(file).checksum;
    if (reading.stopped()) return "";
    const io::ShardReader reader(file);
    if (checksum != entry.checksum) {
      reader.verify(entry.checksum);  // names table, block and records
      return fmt::format(
          "its checksum is {} and should be {}, but a second reading is intact: disk or memory are not "
          "to be trusted",
          checksum_hex(checksum), checksum_hex(entry.checksum));
    }
    const auto& found = reader.identity();
    const bool fits = found.fingerprint == manifest->fingerprint && found.alphabet == manifest->alphabet &&
                      found.split == split && found.index == static_cast<std::int64_t>(index) &&
                      found.count == static_cast<std::int64_t>(count) && reader.records() == entry.records &&
                      static_cast<std::int64_t>(reader.content().tokens.size()) == entry.residues;
    if (fits) return "";
    return fmt::format(
        "it says to be shard {} of {} of '{}' (fingerprint {}, {} records), which is not what the "
        "manifest lists",
        found.index, found.count, found.split, found.fingerprint, reader.records());
  }
};

}  // namespace

Artefact plan_shards(const fs::path& folder) {
  Artefact artefact{.kind = "shards", .folder = folder};
  const auto path = folder / io::kManifestName;
  auto manifest = std::make_shared<io::ShardManifest>();
  const auto problem = problem_of([&] {
    *manifest = io::read_manifest(folder);
    return check_sums(*manifest);
  });
  if (!problem.empty()) artefact.add_problem(path, problem);
  if (fs::exists(path) && problem.empty()) require_seal(artefact, path);
  for (const auto& split : manifest->splits) {
    for (std::size_t index = 0; index < split.shards.size(); ++index) {
      const auto& entry = split.shards[index];
      const auto file = folder / entry.name;
      if (!is_there(artefact, file, entry.bytes)) continue;
      artefact.files.push_back(
          {file, entry.bytes, ShardCheck{manifest, file, split.name, index, split.shards.size(), entry}});
    }
  }
  return artefact;
}

}  // namespace lsd::tasks::verifying
