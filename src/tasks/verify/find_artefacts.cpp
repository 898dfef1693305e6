// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "artefact_internal.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/error.h"
#include "lsd/core/partial_files.h"
#include "lsd/io/checkpoint_listing.h"
#include "lsd/io/embedding_format.h"
#include "lsd/io/shard_format.h"

namespace fs = std::filesystem;

namespace lsd::tasks::verifying {
namespace {

const std::set<std::string> kProgramsWithCheckpoints = {"lsd_train_autoencoder", "lsd_train_diffusion",
                                                        "lsd_import_esm2"};

// Names in a folder, by what they tell about it.
struct Listing {
  explicit Listing(const fs::path& folder) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      const auto name = entry.path().filename().string();
      std::int64_t step = 0;
      if (is_partial(entry.path())) continue;
      if (entry.is_directory()) {
        folders.insert(entry.path());
        has_checkpoints |= io::is_checkpoint_name(name, step);
        continue;
      }
      has_manifest |= name == "manifest.json";
      has_latest |= name == "latest";
      has_done |= name == "DONE";
      has_state |= name == "state.json";
      has_results |= name.ends_with(".json") && name.find(".seed") != std::string::npos;
      const bool part = name.ends_with(".h5") && name.find("-of-") != std::string::npos;
      has_dump_parts |= part && name.starts_with("part-");
      has_shards |= part && !name.starts_with("part-");
    }
  }
  std::set<fs::path> folders;
  bool has_manifest = false, has_latest = false, has_state = false, has_results = false, has_dump_parts = false,
       has_shards = false, has_checkpoints = false, has_done = false;
};

std::string text_entry(const fs::path& file, const char* key) {
  try {
    const auto json = nlohmann::json::parse(read_text_file(file), nullptr, false);
    return json.is_object() && json.contains(key) && json[key].is_string() ? json[key].get<std::string>() : "";
  } catch (const Error&) {
    return "";
  }
}

// shards or dump by its manifest; by its files when that is missing or damaged; empty for another program's.
std::string kind_of_set(const fs::path& folder, const Listing& listing) {
  const auto format = listing.has_manifest ? text_entry(folder / "manifest.json", "format") : "";
  if (format == io::kShardFormat) return "shards";
  if (format == io::kEmbeddingFormat) return "dump";
  if (listing.has_dump_parts) return "dump";
  if (listing.has_shards) return "shards";
  const auto program = text_entry(folder / "environment.json", "program");
  if (program == "lsd_shard_uniref50") return "shards";
  return program == "lsd_dump_latents" ? "dump" : "";
}

// Where there is anything of them, they are looked at themselves.
bool holds_checkpoints(const fs::path& folder) {
  if (!fs::is_directory(folder)) return false;
  const Listing listing(folder);
  return listing.has_latest || listing.has_checkpoints;
}

void search(const fs::path& folder, std::set<Place>& places) {
  const Listing listing(folder);
  std::int64_t step = 0;
  if (listing.has_state || io::is_checkpoint_name(folder.filename().string(), step)) {
    places.insert({"checkpoint", folder});
    return;
  }
  if (listing.has_latest || listing.has_checkpoints) places.insert({"checkpoints", folder});
  const auto kind = kind_of_set(folder, listing);
  if (!kind.empty()) places.insert({kind, folder});
  const auto program = text_entry(folder / "environment.json", "program");
  if (listing.has_results || program == "lsd_probe") places.insert({"probe", folder});
  if (listing.has_done && kProgramsWithCheckpoints.contains(program) && !holds_checkpoints(folder / "checkpoints"))
    places.insert({"training", folder});
  for (const auto& below : listing.folders) {
    const bool states_of_an_array = kind == "dump" && below.filename() == "tasks";  // the parts lie in the dump itself
    if (!states_of_an_array) search(below, places);
  }
}

}  // namespace

std::vector<Place> find_artefacts(const std::vector<std::string>& folders) {
  std::set<Place> places;
  for (const auto& name : folders) {
    const fs::path folder = fs::path(name).lexically_normal();
    if (!fs::is_directory(folder)) throw UserError(fmt::format("{} is no folder: name folders to verify", name));
    const auto before = places.size();
    search(folder.has_filename() ? folder : folder.parent_path(), places);
    if (places.size() == before) {
      throw UserError(
          fmt::format("{} holds nothing that can be verified: no shards, checkpoints, dumps or probe results", name));
    }
  }
  return {places.begin(), places.end()};
}

Artefact plan_artefact(const Place& place) {
  if (place.kind == "shards") return plan_shards(place.folder);
  if (place.kind == "dump") return plan_dump(place.folder);
  if (place.kind == "probe") return plan_probe(place.folder);
  if (place.kind == "training") return plan_training(place.folder);
  return place.kind == "checkpoint" ? plan_checkpoint(place.folder) : plan_checkpoint_folder(place.folder);
}

}  // namespace lsd::tasks::verifying
