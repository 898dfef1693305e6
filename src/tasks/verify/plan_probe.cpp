// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "../probe/probe_plan_internal.h"
#include "../probe/probe_result_internal.h"
#include "artefact_internal.h"
#include "lsd/core/config.h"

namespace fs = std::filesystem;

namespace lsd::tasks::verifying {
namespace {

struct ResultCheck {
  fs::path file;

  std::string operator()(Reading& reading) const {
    reading.scan(file);
    if (auto broken = seal_problem(file); !broken.empty()) return broken;
    const auto result = read_result(file);
    if (!result) return "it is no probe result, though its name is one's: it is damaged";
    if (result->compute_fingerprint() != result->fingerprint)
      return fmt::format("its fingerprint is {} and what it says was probed has {}", result->fingerprint,
                         result->compute_fingerprint());
    if (result->file_name() != file.filename())
      return fmt::format("it holds the result that belongs into {}", result->file_name());
    return "";
  }
};

}  // namespace

Artefact plan_probe(const fs::path& folder) {
  Artefact artefact{.kind = "probe", .folder = folder};
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (!entry.is_regular_file() || !name.ends_with(".json") || name.find(".seed") == std::string::npos) continue;
    artefact.files.push_back({entry.path(), static_cast<std::int64_t>(entry.file_size()), ResultCheck{entry.path()}});
  }
  // The last command's combinations; earlier ones may have left more.
  const auto config_file = folder / "config.cfg";
  if (!fs::exists(config_file)) {
    if (fs::exists(folder / "DONE"))
      artefact.add_problem(config_file, "it is missing: which results belong here is not known");
    return artefact;
  }
  const auto problem = problem_of([&]() -> std::string {
    for (const auto& name : planned_files(load_config<ProbeConfig>({config_file}))) {
      if (!fs::exists(folder / name)) artefact.add_problem(folder / name, "it is missing: the sweep is not finished");
    }
    return "";
  });
  if (!problem.empty()) artefact.add_problem(config_file, problem);
  return artefact;
}

}  // namespace lsd::tasks::verifying
