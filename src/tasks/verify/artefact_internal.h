// SPDX-License-Identifier: Apache-2.0
#pragma once
// What there is to verify: artefacts, and for each the files it consists of with what has to be looked at. A plan is
// made from names and manifests alone, equal on every rank; files are read when their turn comes, on one rank.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "scan_file_internal.h"

namespace lsd::tasks::verifying {

// A problem's text, less the file's name where it only repeats it: it is told beside the name.
std::string without_name(std::string what, const std::string& file);
// "1 file", "2 files"
std::string counted(std::size_t count, std::string_view noun);

struct Problem {
  std::string kind;  // of the artefact: shards, checkpoint, dump, probe
  std::string file;
  std::string what;

  friend auto operator<=>(const Problem&, const Problem&) = default;
};

struct FileCheck {
  std::filesystem::path file;
  std::int64_t bytes = 0;  // that it should have
  // Says what is wrong with the file; empty when nothing is. An Error that it throws is a problem too.
  std::function<std::string(Reading&)> run;
};

struct Artefact {
  std::string kind;
  std::filesystem::path folder;
  std::vector<FileCheck> files = {};
  std::vector<Problem> problems = {};  // found while planning: missing files, damaged manifests, sums that do not fit
  std::vector<std::string> notes = {};

  void add_problem(const std::filesystem::path& file, std::string what) {
    problems.push_back({kind, file.string(), without_name(std::move(what), file.string())});
  }
};

// The kinds of artefacts and where they lie, below the folders given: sorted, each once.
struct Place {
  std::string kind;
  std::filesystem::path folder;

  friend auto operator<=>(const Place&, const Place&) = default;
};
std::vector<Place> find_artefacts(const std::vector<std::string>& folders);

// One function per kind. They throw nothing about the artefact: what is wrong becomes its problems.
Artefact plan_shards(const std::filesystem::path& folder);
Artefact plan_checkpoint(const std::filesystem::path& folder);
Artefact plan_checkpoint_folder(const std::filesystem::path& folder);  // `latest` beside the checkpoints
Artefact plan_training(const std::filesystem::path& folder);           // a run that is done, without its checkpoints
Artefact plan_dump(const std::filesystem::path& folder);
Artefact plan_probe(const std::filesystem::path& folder);
Artefact plan_artefact(const Place& place);

// Adds a problem and gives false when `folder` lacks the file or it has another size; for planning.
bool is_there(Artefact& artefact, const std::filesystem::path& file, std::int64_t bytes);
// The problem that an Error in `body` makes, on one line; empty when there is none.
std::string problem_of(const std::function<std::string()>& body);
// What is wrong with the seal of a JSON file; empty when nothing is.
std::string seal_problem(const std::filesystem::path& file);
// Adds the problem when a JSON file has no seal: it cannot be verified (sealed_text.h).
void require_seal(Artefact& artefact, const std::filesystem::path& file);

}  // namespace lsd::tasks::verifying
