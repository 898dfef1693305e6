// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <map>
#include <optional>
#include <set>

#include "artefact_internal.h"
#include "lsd/core/checksum.h"
#include "lsd/io/embedding_reader.h"
#include "lsd/io/file_trailer.h"

namespace fs = std::filesystem;

namespace lsd::tasks::verifying {
namespace {

std::string check_content(const io::EmbeddingPartReader& reader, const io::EmbeddingPart& entry,
                          const std::string& fingerprint) {
  const auto& found = reader.entry();
  if (reader.fingerprint() != fingerprint)
    return fmt::format("it belongs to another dump: its fingerprint is {}, the manifest's {}", reader.fingerprint(),
                       fingerprint);
  const bool fits = found.first_record == entry.first_record && found.records == entry.records &&
                    found.tokens == entry.tokens && found.residues == entry.residues &&
                    found.overflows == entry.overflows && found.checksum == entry.checksum;
  if (fits) return "";
  return fmt::format(
      "it holds {} records from {} on ({} tokens, checksum {}) where the manifest lists {} from {} on "
      "({} tokens, checksum {})",
      found.records, found.first_record, found.tokens, checksum_hex(found.checksum), entry.records, entry.first_record,
      entry.tokens, checksum_hex(entry.checksum));
}

// A part by its own trailer, then, where there is a manifest, against its entry there.
struct PartCheck {
  fs::path file;
  std::string fingerprint;
  std::optional<io::EmbeddingPart> entry;

  std::string operator()(Reading& reading) const {
    const auto content = reading.scan(file, io::kTrailerBytes);
    if (reading.stopped()) return "";
    const auto stated = io::checksum_in_trailer(content.tail);
    if (!stated || *stated != content.checksum) return find_damage(stated.has_value());
    if (entry && entry->file_checksum != stated)
      return fmt::format("it is intact, but its checksum {} is not the manifest's: it was replaced",
                         checksum_hex(*stated));
    const io::EmbeddingPartReader reader(file);
    if (reader.moments().count != reader.entry().residues)
      return fmt::format("its moments are over {} residues of {}", reader.moments().count, reader.entry().residues);
    return entry ? check_content(reader, *entry, fingerprint) : "";
  }

  std::string find_damage(bool has_trailer) const {
    io::EmbeddingPartReader(file).verify();  // names table, block and records
    if (!has_trailer)
      return "its tables are intact, but it does not end with its checksum: it was cut short or changed, or an older "
             "program wrote it";
    return "its tables are intact, but not what lies around them (head, names, checksum)";
  }
};

// Index and count in "part-00003-of-00012.h5".
std::optional<std::pair<std::int64_t, std::int64_t>> numbers_in(const std::string& name) {
  std::int64_t index = 0, count = 0;
  const auto read = [&](std::size_t at, std::int64_t& value) {
    return at < name.size() && std::from_chars(name.data() + at, name.data() + name.size(), value).ec == std::errc();
  };
  const auto of = name.find("-of-");
  if (!name.starts_with("part-") || of == std::string::npos || !read(5, index) || !read(of + 4, count))
    return std::nullopt;
  if (io::embedding_part_name(index, count) != name) return std::nullopt;
  return std::pair(index, count);
}

std::set<std::string> part_names(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (numbers_in(entry.path().filename().string())) names.insert(entry.path().filename().string());
  }
  return names;
}

// Without a manifest: what is there, and which numbers are missing of the largest count that a name states.
void plan_unfinished(Artefact& artefact) {
  std::map<std::int64_t, std::set<std::int64_t>> sets;
  for (const auto& name : part_names(artefact.folder)) {
    const auto file = artefact.folder / name;
    const auto [index, count] = *numbers_in(name);
    sets[count].insert(index);
    std::error_code error;
    const auto bytes = static_cast<std::int64_t>(fs::file_size(file, error));
    artefact.files.push_back({file, error ? 0 : bytes, PartCheck{file, "", std::nullopt}});
  }
  for (const auto& [count, found] : sets) {
    for (std::int64_t index = 0; index < count; ++index) {
      if (!found.contains(index))
        artefact.add_problem(artefact.folder / io::embedding_part_name(index, count), "it is missing");
    }
  }
}

}  // namespace

Artefact plan_dump(const fs::path& folder) {
  Artefact artefact{.kind = "dump", .folder = folder};
  const auto path = folder / "manifest.json";
  io::EmbeddingManifest manifest;
  const auto problem = problem_of([&]() -> std::string {
    manifest = io::read_embedding_manifest(folder);
    if (manifest.moments.count != manifest.residues())
      return fmt::format("its moments are over {} residues, its parts hold {}", manifest.moments.count,
                         manifest.residues());
    return "";
  });
  if (!problem.empty()) {
    artefact.add_problem(path, problem);
    plan_unfinished(artefact);
    return artefact;
  }
  require_seal(artefact, path);
  auto others = part_names(folder);
  for (const auto& entry : manifest.parts) {
    const auto file = folder / entry.name;
    others.erase(entry.name);
    if (is_there(artefact, file, entry.bytes))
      artefact.files.push_back({file, entry.bytes, PartCheck{file, manifest.identity.fingerprint(), entry}});
  }
  if (!others.empty())
    artefact.notes.push_back(fmt::format("{} holds part files that its manifest does not list: {}", folder.string(),
                                         fmt::join(others, ", ")));
  return artefact;
}

}  // namespace lsd::tasks::verifying
