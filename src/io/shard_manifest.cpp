// SPDX-License-Identifier: Apache-2.0
#include "lsd/io/shard_manifest.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "lsd/core/atomic_file.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/core/fault_point.h"
#include "lsd/core/json_text.h"
#include "lsd/core/sealed_text.h"

namespace lsd::io {
namespace {

using Json = nlohmann::ordered_json;

Json counts_to_json(const NamedCounts& counts) {
  Json json = Json::object();
  for (const auto& [name, count] : counts) json[name] = count;
  return json;
}

NamedCounts counts_from_json(const Json& json) {
  NamedCounts counts;
  for (const auto& [name, count] : json.items()) counts.emplace_back(name, count.get<std::int64_t>());
  return counts;
}

Json split_to_json(const ManifestSplit& split) {
  Json shards = Json::array();
  for (const auto& shard : split.shards) {
    shards.push_back({{"file", shard.name},
                      {"records", shard.records},
                      {"residues", shard.residues},
                      {"bytes", shard.bytes},
                      {"checksum", checksum_hex(shard.checksum)}});
  }
  return {{"name", split.name}, {"records", split.records()}, {"residues", split.residues()}, {"shards", shards}};
}

std::uint64_t parse_checksum(const std::string& text) {
  std::uint64_t value = 0;
  const auto* end = text.data() + text.size();
  if (text.size() != 16 || std::from_chars(text.data(), end, value, 16).ptr != end)
    throw DataError(fmt::format("'{}' is not a checksum of 16 hexadecimal digits", text));
  return value;
}

ManifestSplit split_from_json(const Json& json) {
  ManifestSplit split{.name = json.at("name").get<std::string>()};
  for (const auto& shard : json.at("shards")) {
    split.shards.push_back({.name = shard.at("file").get<std::string>(),
                            .records = shard.at("records").get<std::int64_t>(),
                            .residues = shard.at("residues").get<std::int64_t>(),
                            .bytes = shard.at("bytes").get<std::int64_t>(),
                            .checksum = parse_checksum(shard.at("checksum").get<std::string>())});
  }
  const bool sums_fit = json.at("records").get<std::int64_t>() == split.records() &&
                        json.at("residues").get<std::int64_t>() == split.residues();
  if (!sums_fit) throw DataError(fmt::format("the shards of '{}' do not add up to its totals", split.name));
  return split;
}

Json manifest_to_json(const ShardManifest& manifest) {
  Json json = {{"checksum", kNoSeal},
               {"format", kShardFormat},
               {"version", kShardVersion},
               {"fingerprint", manifest.fingerprint},
               {"alphabet", manifest.alphabet}};
  json["options"] = Json::object();
  for (const auto& [name, value] : manifest.options) json["options"][name] = value;
  json["inputs"] = Json::array();
  for (const auto& input : manifest.inputs) {
    json["inputs"].push_back({{"name", input.name},
                              {"encoding", input.encoding},
                              {"bytes", input.bytes},
                              {"counts", counts_to_json(input.counts)}});
  }
  json["counts"] = counts_to_json(manifest.counts);
  json["splits"] = Json::array();
  for (const auto& split : manifest.splits) json["splits"].push_back(split_to_json(split));
  return json;
}

ShardManifest manifest_from_json(const Json& json) {
  ShardManifest manifest{.fingerprint = json.at("fingerprint").get<std::string>(),
                         .alphabet = json.at("alphabet").get<std::string>()};
  for (const auto& [name, value] : json.at("options").items())
    manifest.options.emplace_back(name, value.get<std::string>());
  for (const auto& input : json.at("inputs")) {
    manifest.inputs.push_back({.name = input.at("name").get<std::string>(),
                               .encoding = input.at("encoding").get<std::string>(),
                               .bytes = input.at("bytes").get<std::int64_t>(),
                               .counts = counts_from_json(input.at("counts"))});
  }
  manifest.counts = counts_from_json(json.at("counts"));
  for (const auto& split : json.at("splits")) manifest.splits.push_back(split_from_json(split));
  return manifest;
}

void check_version(const Json& json) {
  if (!json.is_object() || json.value("format", "") != kShardFormat)
    throw DataError("it is not the manifest of a shard set");
  const auto version = json.at("version").get<std::int64_t>();
  if (version == kShardVersion) return;
  throw DataError(
      fmt::format("it has format version {}, this program reads version {}: make the shards again with this "
                  "program, or use the program that made them",
                  version, kShardVersion));
}

}  // namespace

std::int64_t ManifestSplit::records() const {
  std::int64_t sum = 0;
  for (const auto& shard : shards) sum += shard.records;
  return sum;
}

std::int64_t ManifestSplit::residues() const {
  std::int64_t sum = 0;
  for (const auto& shard : shards) sum += shard.residues;
  return sum;
}

const ManifestSplit& ShardManifest::split(std::string_view name) const {
  std::string known;
  for (const auto& candidate : splits) {
    if (candidate.name == name) return candidate;
    known += (known.empty() ? "" : ", ") + candidate.name;
  }
  throw UserError(fmt::format("the shard set has no split '{}'; it has: {}", name, known));
}

void write_manifest(const std::filesystem::path& folder, const ShardManifest& manifest) {
  write_file_atomically(folder / kManifestName, seal_text(json_text(manifest_to_json(manifest), 2) + "\n"));
  fault_point("shard.manifest_written");
}

ShardManifest read_manifest(const std::filesystem::path& folder) {
  const auto path = folder / kManifestName;
  if (!std::filesystem::exists(path)) {
    throw DataError(
        fmt::format("{} is missing: the folder holds no finished shard set; run lsd_shard_uniref50 to its end "
                    "or name another folder",
                    path.string()));
  }
  return with_context("while reading " + path.string(), [&] {
    try {
      const auto text = read_text_file(path);
      const auto json = Json::parse(text);
      check_version(json);
      auto manifest = manifest_from_json(json);
      require_intact_seal(text);  // last: what is wrong with the content says more
      return manifest;
    } catch (const nlohmann::json::exception& error) {
      throw DataError(fmt::format("the manifest is damaged ({}): restore it or make the shards again", error.what()));
    }
  });
}

}  // namespace lsd::io
