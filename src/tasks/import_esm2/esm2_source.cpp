// SPDX-License-Identifier: Apache-2.0
#include "esm2_source_internal.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "lsd/core/atomic_file.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"

namespace fs = std::filesystem;

namespace lsd::tasks {
namespace {

constexpr const char* kConfigFile = "config.json";
constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

constexpr const char* kHowToDownload =
    "download one with: hf download facebook/esm2_t6_8M_UR50D config.json model.safetensors --local-dir esm2_t6_8M";

void require_model_files(const fs::path& folder) {
  if (!fs::is_directory(folder))
    throw UserError(fmt::format("there is no folder {}; {}", folder.string(), kHowToDownload));
  if (!fs::exists(folder / kConfigFile))
    throw UserError(fmt::format("{} holds no {}; {}", folder.string(), kConfigFile, kHowToDownload));
  const bool single = fs::exists(folder / kSingleFile), sharded = fs::exists(folder / kIndexFile);
  if (single && sharded)
    throw UserError(fmt::format("{} holds both {} and {}: move the one away that is not meant", folder.string(),
                                kSingleFile, kIndexFile));
  if (single || sharded) return;
  if (fs::exists(folder / "pytorch_model.bin") || fs::exists(folder / "pytorch_model.bin.index.json"))
    throw UserError(fmt::format(
        "{} holds its weights as pytorch_model.bin only, which is not read here: download model.safetensors, or "
        "convert with transformers: EsmForMaskedLM.from_pretrained(folder).save_pretrained(new_folder)",
        folder.string()));
  throw UserError(
      fmt::format("{} holds neither {} nor {}; {}", folder.string(), kSingleFile, kIndexFile, kHowToDownload));
}

// Array name -> file name.
std::map<std::string, std::string> read_weight_map(const fs::path& index) {
  const auto json = nlohmann::json::parse(read_text_file(index), nullptr, false);
  try {
    auto map = json.at("weight_map").get<std::map<std::string, std::string>>();
    for (const auto& [array, file] : map) {
      if (fs::path(file).filename() != file || !file.ends_with(".safetensors"))
        throw DataError(
            fmt::format("{} names '{}' as the file of {}: a file beside it, ending in .safetensors, is needed",
                        index.string(), file, array));
    }
    return map;
  } catch (const nlohmann::json::exception&) {
    throw DataError(
        fmt::format("{} is damaged: it holds no table weight_map of array names and file names; download it "
                    "again",
                    index.string()));
  }
}

}  // namespace

Esm2Source::Esm2Source(fs::path folder) : folder_(std::move(folder)) {
  require_model_files(folder_);
  if (fs::exists(folder_ / kSingleFile))
    files_.emplace_back(folder_ / kSingleFile);
  else
    open_shards(folder_ / kIndexFile);
  take_arrays();
}

void Esm2Source::open_shards(const fs::path& index) {
  const auto weight_map = read_weight_map(index);
  std::set<std::string> names;
  for (const auto& [array, file] : weight_map) names.insert(file);
  for (const auto& name : names) {
    if (!fs::exists(folder_ / name))
      throw DataError(fmt::format("{} is missing, and {} lists it: download it too", (folder_ / name).string(),
                                  index.filename().string()));
    files_.emplace_back(folder_ / name);
  }
  std::map<std::string, std::string> found;
  for (const auto& file : files_)
    for (const auto& array : file.arrays()) found[array.name] = file.path().filename().string();
  for (const auto& [array, file] : weight_map)
    if (const auto at = found.find(array); at == found.end() || at->second != file)
      throw DataError(fmt::format("{} does not hold {}, and {} says so: the files are of different downloads",
                                  (folder_ / file).string(), array, index.filename().string()));
  for (const auto& [array, file] : found)
    if (!weight_map.contains(array))
      throw DataError(fmt::format("{} holds {}, which {} does not list: the files are of different downloads",
                                  (folder_ / file).string(), array, index.filename().string()));
}

void Esm2Source::take_arrays() {
  for (const auto& file : files_)
    for (const auto& array : file.arrays())
      if (const auto [at, added] = arrays_.try_emplace(array.name, SourceArray{&array, &file.path()}); !added)
        throw DataError(fmt::format("{} and {} both hold {}: the files are of different downloads",
                                    at->second.file->string(), file.path().string(), array.name));
}

const io::NamedArray* Esm2Source::find(const std::string& name) const {
  const auto found = arrays_.find(name);
  return found == arrays_.end() ? nullptr : found->second.array;
}

std::vector<SourceFile> Esm2Source::checksums() const {
  std::vector<SourceFile> list;
  const auto add_small = [&](const char* name) {
    if (fs::exists(folder_ / name))
      list.push_back({name, fs::file_size(folder_ / name), checksum_of_file(folder_ / name)});
  };
  add_small(kConfigFile);
  for (const auto& file : files_) list.push_back({file.path().filename().string(), file.bytes(), file.checksum()});
  if (!fs::exists(folder_ / kSingleFile)) add_small(kIndexFile);
  return list;
}

}  // namespace lsd::tasks
