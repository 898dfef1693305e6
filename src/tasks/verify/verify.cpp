// SPDX-License-Identifier: Apache-2.0
#include "lsd/tasks/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "../shard/together_internal.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/checksum.h"
#include "lsd/core/json_text.h"
#include "run_checks_internal.h"

namespace lsd::tasks {
namespace {

using namespace verifying;
using Json = nlohmann::ordered_json;

// Rank 0 looks for them, so that all ranks mean the same ones.
std::vector<Place> agree_on_places(const VerifyConfig& config, dist::HostCommunicator& ranks) {
  std::string text;
  sharding::together(ranks, [&] {
    if (!ranks.is_root()) return;
    for (const auto& place : find_artefacts(config.folders)) text += place.kind + '\0' + place.folder.string() + '\0';
  });
  text = ranks.broadcast_text(text);
  std::vector<Place> places;
  for (std::size_t at = 0; at < text.size();) {
    const std::string kind = text.c_str() + at, folder = text.c_str() + at + kind.size() + 1;
    at += kind.size() + folder.size() + 2;
    places.push_back({kind, folder});
  }
  return places;
}

std::vector<Artefact> plan_all(const std::vector<Place>& places) {
  std::vector<Artefact> artefacts;
  for (const auto& place : places) {
    Artefact artefact{.kind = place.kind, .folder = place.folder};
    const auto problem = problem_of([&]() -> std::string { return artefact = plan_artefact(place), ""; });
    if (!problem.empty()) artefact.add_problem(place.folder, problem);
    artefacts.push_back(std::move(artefact));
  }
  return artefacts;
}

// Files are shared out by number, so the plans must not differ.
void require_same_plan(const std::vector<Artefact>& artefacts, dist::HostCommunicator& ranks) {
  std::string text;
  for (const auto& artefact : artefacts) {
    for (const auto& check : artefact.files) text += fmt::format("{} {}\n", check.file.string(), check.bytes);
  }
  const auto mine = checksum_hex(checksum64(text));
  const bool same = ranks.broadcast_text(mine) == mine;
  sharding::together(ranks, [&] {
    if (!same)
      throw SystemError(
          "the folders change while they are verified: verify them when no job writes there, or on one "
          "rank");
  });
}

Json problem_json(const Problem& problem) {
  return {{"kind", problem.kind}, {"file", problem.file}, {"problem", problem.what}};
}

std::vector<Problem> gather(const std::vector<Problem>& mine, dist::HostCommunicator& ranks) {
  Json json = Json::array();
  for (const auto& problem : mine) json.push_back(problem_json(problem));
  const auto text = json_text(json);
  std::vector<Problem> all;
  for (const auto& bytes : ranks.all_gather(std::as_bytes(std::span(text)))) {
    for (const auto& entry : Json::parse(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size())))
      all.push_back({entry.at("kind"), entry.at("file"), entry.at("problem")});
  }
  std::ranges::sort(all);
  return all;
}

struct Summary {
  std::vector<Problem> problems;
  std::int64_t files = 0, bytes = 0;
  double seconds = 0;
  bool stopped = false;
};

Json report_json(const VerifyConfig& config, const std::vector<Artefact>& artefacts, const Summary& summary) {
  Json json = {{"format", "lsd-verification"},
               {"version", 1},
               {"intact", summary.problems.empty() && !summary.stopped},
               {"finished", !summary.stopped},
               {"folders", config.folders},
               {"files", summary.files},
               {"bytes", summary.bytes},
               {"seconds", summary.seconds},
               {"artefacts", Json::array()},
               {"problems", Json::array()},
               {"notes", Json::array()}};
  for (const auto& artefact : artefacts) {
    json["artefacts"].push_back(
        {{"kind", artefact.kind}, {"folder", artefact.folder.string()}, {"files", artefact.files.size()}});
    for (const auto& note : artefact.notes) json["notes"].push_back(note);
  }
  for (const auto& problem : summary.problems) json["problems"].push_back(problem_json(problem));
  return json;
}

// Rank 0.
void tell(const VerifyConfig& config, const std::vector<Artefact>& artefacts, const Summary& summary, const Log& log) {
  for (const auto& artefact : artefacts) {
    for (const auto& note : artefact.notes) log.info("note: " + note);
  }
  for (const auto& problem : summary.problems) log.error(fmt::format("{}: {}", problem.file, problem.what));
  const auto what = fmt::format("{}, {}, {}", counted(artefacts.size(), "artefact"),
                                counted(static_cast<std::size_t>(summary.files), "file"),
                                human_bytes(static_cast<double>(summary.bytes)));
  if (summary.problems.empty()) {
    log.info(fmt::format("{}: {}", what, summary.stopped ? "stopped before the end, nothing found so far" : "intact"));
  } else {
    log.error(fmt::format("{}: {}", what, counted(summary.problems.size(), "problem")));
  }
  if (config.json.empty()) return;
  const auto json = report_json(config, artefacts, summary);
  write_file_atomically(config.json, json_text(json, 1) + "\n");
}

}  // namespace

Outcome verify(const VerifyConfig& config, Runtime& runtime) {
  auto& ranks = runtime.ranks;
  const auto start = std::chrono::steady_clock::now();
  const auto artefacts = plan_all(agree_on_places(config, ranks));
  require_same_plan(artefacts, ranks);
  const auto share = share_of_rank(artefacts, ranks.rank(), ranks.size());
  auto problems = run_checks(share, {static_cast<int>(config.threads), runtime.log, runtime.stop});
  Summary summary;
  if (ranks.is_root()) {
    for (const auto& artefact : artefacts) {
      problems.insert(problems.end(), artefact.problems.begin(), artefact.problems.end());
      summary.files += static_cast<std::int64_t>(artefact.files.size());
      for (const auto& check : artefact.files) summary.bytes += check.bytes;
    }
  }
  summary.problems = gather(problems, ranks);
  std::int64_t stopped = runtime.stop.requested() ? 1 : 0;
  ranks.all_reduce_max(std::span(&stopped, 1));
  summary.stopped = stopped != 0;
  summary.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  sharding::together(ranks, [&] {
    if (ranks.is_root()) tell(config, artefacts, summary, runtime.log);
  });
  if (!summary.problems.empty()) return Outcome::failed;
  return summary.stopped ? Outcome::stopped : Outcome::done;
}

}  // namespace lsd::tasks
