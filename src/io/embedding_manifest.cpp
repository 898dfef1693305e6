// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "lsd/core/atomic_file.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/core/json_text.h"
#include "lsd/core/sealed_text.h"
#include "lsd/io/embedding_format.h"

namespace lsd::io {
namespace {

constexpr std::string_view kManifest = "manifest.json";
using Json = nlohmann::ordered_json;

Json identity_json(const EmbeddingIdentity& identity) {
  return {{"kind", name_of(identity.kind)},
          {"element", identity.element},
          {"width", identity.width},
          {"specials", identity.specials},
          {"representation", identity.representation},
          {"time", identity.time},
          {"input", identity.input},
          {"draws", identity.draws},
          {"seed", identity.seed},
          {"weights", identity.weights},
          {"source", identity.source},
          {"packing", identity.packing},
          {"fingerprint", identity.fingerprint()}};
}

EmbeddingIdentity identity_from(const Json& json) {
  EmbeddingIdentity identity;
  identity.kind = embedding_kind_from_name(json.at("kind").get<std::string>());
  json.at("element").get_to(identity.element);
  json.at("width").get_to(identity.width);
  json.at("specials").get_to(identity.specials);
  json.at("representation").get_to(identity.representation);
  json.at("time").get_to(identity.time);
  json.at("input").get_to(identity.input);
  json.at("draws").get_to(identity.draws);
  json.at("seed").get_to(identity.seed);
  json.at("weights").get_to(identity.weights);
  json.at("source").get_to(identity.source);
  json.at("packing").get_to(identity.packing);
  if (json.at("fingerprint").get<std::string>() != identity.fingerprint()) {
    throw DataError(
        "its fingerprint does not fit what it says was computed: it was edited or is damaged; "
        "restore it from a copy, or make the dump again");
  }
  return identity;
}

Json part_json(const EmbeddingPart& part) {
  Json json = {{"name", part.name},         {"first_record", part.first_record},
               {"records", part.records},   {"tokens", part.tokens},
               {"residues", part.residues}, {"overflows", part.overflows},
               {"bytes", part.bytes},       {"checksum", checksum_hex(part.checksum)}};
  if (part.file_checksum) json["file_checksum"] = checksum_hex(*part.file_checksum);
  return json;
}

std::uint64_t checksum_from(const Json& json) {
  const auto text = json.get<std::string>();
  std::uint64_t value = 0;
  const auto* end = text.data() + text.size();
  if (text.size() != 16 || std::from_chars(text.data(), end, value, 16).ptr != end)
    throw DataError(fmt::format("'{}' is not a checksum of 16 hexadecimal digits", text));
  return value;
}

EmbeddingPart part_from(const Json& json) {
  EmbeddingPart part;
  json.at("name").get_to(part.name);
  json.at("first_record").get_to(part.first_record);
  json.at("records").get_to(part.records);
  json.at("tokens").get_to(part.tokens);
  json.at("residues").get_to(part.residues);
  json.at("overflows").get_to(part.overflows);
  json.at("bytes").get_to(part.bytes);
  part.checksum = checksum_from(json.at("checksum"));
  if (json.contains("file_checksum")) part.file_checksum = checksum_from(json.at("file_checksum"));
  return part;
}

EmbeddingManifest manifest_from(const Json& json) {
  if (json.at("format").get<std::string>() != kEmbeddingFormat) throw DataError("it does not describe embeddings");
  const auto version = json.at("version").get<std::int64_t>();
  if (version != kEmbeddingVersion) {
    throw DataError(fmt::format("it has format version {}, this program reads version {}: dump again with this program",
                                version, kEmbeddingVersion));
  }
  EmbeddingManifest manifest;
  manifest.identity = identity_from(json.at("identity"));
  const auto& moments = json.at("moments");
  moments.at("count").get_to(manifest.moments.count);
  moments.at("mean").get_to(manifest.moments.mean);
  moments.at("squared_deviations").get_to(manifest.moments.squared_deviations);
  const auto width = static_cast<std::size_t>(manifest.identity.width);
  if (manifest.moments.mean.size() != width || manifest.moments.squared_deviations.size() != width) {
    throw DataError("its moments have another width than its latents");
  }
  for (const auto& part : json.at("parts")) {
    manifest.parts.push_back(part_from(part));
    if (manifest.parts.back().first_record + manifest.parts.back().records != manifest.records()) {
      throw DataError(fmt::format("its part {} does not follow on the parts before it", manifest.parts.back().name));
    }
  }
  const bool adds_up = json.at("records").get<std::int64_t>() == manifest.records() &&
                       json.at("tokens").get<std::int64_t>() == manifest.tokens() &&
                       json.at("residues").get<std::int64_t>() == manifest.residues() &&
                       json.at("overflows").get<std::int64_t>() == manifest.overflows();
  if (!adds_up) throw DataError("its parts do not add up to its totals");
  if (json.contains("source")) {
    manifest.source_records = json.at("source").at("records").get<std::int64_t>();
    manifest.source_residues = json.at("source").at("residues").get<std::int64_t>();
    if (manifest.source_records != manifest.records() || manifest.source_residues != manifest.residues())
      throw DataError(fmt::format("its parts hold {} records and {} residues, its source had {} and {}",
                                  manifest.records(), manifest.residues(), *manifest.source_records,
                                  *manifest.source_residues));
  }
  return manifest;
}

}  // namespace

void write_embedding_manifest(const std::filesystem::path& folder, const EmbeddingManifest& manifest) {
  const auto& moments = manifest.moments;
  Json json = {{"checksum", kNoSeal},
               {"format", kEmbeddingFormat},
               {"version", kEmbeddingVersion},
               {"identity", identity_json(manifest.identity)},
               {"records", manifest.records()},
               {"tokens", manifest.tokens()},
               {"residues", manifest.residues()},
               {"overflows", manifest.overflows()}};
  if (manifest.source_records)
    json["source"] = {{"records", *manifest.source_records}, {"residues", manifest.source_residues.value_or(0)}};
  json["moments"] = {{"count", moments.count},
                     {"mean", moments.mean},
                     {"variance", moments.variance()},
                     {"squared_deviations", moments.squared_deviations}};
  json["parts"] = Json::array();
  for (const auto& part : manifest.parts) json["parts"].push_back(part_json(part));
  write_file_atomically(folder / kManifest, seal_text(json_text(json, 1) + "\n"));
}

EmbeddingManifest read_embedding_manifest(const std::filesystem::path& folder) {
  const auto path = folder / kManifest;
  if (!std::filesystem::exists(path)) {
    throw DataError(
        fmt::format("{} is missing: this is no finished dump of latents. Run lsd_dump_latents again; it goes on "
                    "where it stopped",
                    path.string()));
  }
  return with_context("while reading " + path.string(), [&] {
    try {
      const auto text = read_text_file(path);
      auto manifest = manifest_from(Json::parse(text));
      require_intact_seal(text);  // last: what is wrong with the content says more
      return manifest;
    } catch (const nlohmann::json::exception& error) {
      throw DataError(fmt::format("it is damaged or of another kind ({}): dump the latents again", error.what()));
    }
  });
}

bool has_embedding_manifest(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / kManifest);
}

}  // namespace lsd::io
