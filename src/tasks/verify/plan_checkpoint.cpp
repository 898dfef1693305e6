// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "artefact_internal.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/checksum.h"
#include "lsd/io/checkpoint_listing.h"

namespace fs = std::filesystem;

namespace lsd::tasks::verifying {
namespace {

struct ArrayFileCheck {
  fs::path file;
  io::WrittenFile entry;

  std::string operator()(Reading& reading) const {
    const auto checksum = reading.scan(file).checksum;
    if (reading.stopped()) return "";
    if (checksum != entry.checksum)
      return fmt::format("it is damaged: its checksum is {} and should be {}", checksum_hex(checksum),
                         checksum_hex(entry.checksum));
    if (file.extension() == ".safetensors") io::SafetensorsFile opened(file);  // its head: types, shapes, no holes
    return "";
  }
};

}  // namespace

Artefact plan_checkpoint(const fs::path& folder) {
  Artefact artefact{.kind = "checkpoint", .folder = folder};
  const auto state_file = folder / "state.json";
  io::CheckpointListing listing;
  const auto problem = problem_of([&]() -> std::string {
    listing = io::list_checkpoint(folder);
    std::int64_t step = 0;
    if (io::is_checkpoint_name(folder.filename().string(), step) && step != listing.state.step)
      return fmt::format("it is of step {}, its folder's name says {}", listing.state.step, step);
    return "";
  });
  if (!problem.empty() && !fs::exists(folder)) {
    artefact.notes.push_back(fmt::format("{} was removed meanwhile", folder.string()));
    return artefact;
  }
  if (!problem.empty()) artefact.add_problem(state_file, problem);
  for (const auto& entry : listing.files) {
    const auto file = folder / entry.name;
    const auto bytes = static_cast<std::int64_t>(entry.bytes);
    if (is_there(artefact, file, bytes)) artefact.files.push_back({file, bytes, ArrayFileCheck{file, entry}});
  }
  return artefact;
}

Artefact plan_checkpoint_folder(const fs::path& folder) {
  Artefact artefact{.kind = "checkpoint", .folder = folder};
  const auto pointer = folder / "latest";
  if (!fs::exists(pointer)) {
    artefact.add_problem(pointer, "it is missing: no checkpoint beside it is in force");
    return artefact;
  }
  const auto text = read_text_file(pointer);
  const auto name = text.substr(0, text.find('\n'));
  std::int64_t latest = 0, step = 0;
  if (text != name + "\n" || !io::is_checkpoint_name(name, latest)) {
    artefact.add_problem(pointer, "it is damaged: it should be the name of a checkpoint and a line feed");
  } else if (!fs::exists(folder / name)) {
    artefact.add_problem(pointer, fmt::format("it names {}, which is not there", name));
  }
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (io::is_checkpoint_name(entry.path().filename().string(), step) && step > latest)
      artefact.notes.push_back(
          fmt::format("{} names step {} though step {} is there: a run that went back, or a run "
                      "that died before it switched",
                      pointer.string(), latest, step));
  }
  return artefact;
}

Artefact plan_training(const fs::path& folder) {
  Artefact artefact{.kind = "checkpoint", .folder = folder / "checkpoints"};
  artefact.add_problem(folder / "checkpoints",
                       "no checkpoint is there, and DONE beside it says that the run is done: put them back, or remove "
                       "the run's folder and make it again");
  return artefact;
}

}  // namespace lsd::tasks::verifying
