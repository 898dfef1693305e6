// SPDX-License-Identifier: Apache-2.0
#include "dump_folder_internal.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdlib>
#include <limits>

#include "../shard/together_internal.h"
#include "lsd/core/atomic_file.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/core/fault_point.h"
#include "lsd/core/json_text.h"
#include "lsd/io/file_trailer.h"

namespace fs = std::filesystem;

namespace lsd::tasks {
namespace {

constexpr std::string_view kProgram = "lsd_dump_latents";

fs::path own_folder(const fs::path& folder, const DumpOutputConfig& output) {
  if (output.task_count == 1) return folder;
  return folder / "tasks" / fmt::format("{:04}-of-{:04}", output.task_index, output.task_count);
}

std::uint64_t inode_of(const fs::path& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

void remove_partials_of_attempts(const fs::path& own, std::int64_t before) {
  std::error_code error;
  for (fs::directory_iterator entry(own / "attempts", error), end; !error && entry != end; entry.increment(error)) {
    const auto name = entry->path().filename().string();
    if (entry->is_directory() && std::atoll(name.c_str()) < before) remove_partials(entry->path());
  }
}

}  // namespace

DumpFolder::DumpFolder(fs::path folder, const DumpContent& content, const DumpOutputConfig& output, Use use,
                       Runtime& runtime)
    : folder_(std::move(folder)),
      own_(own_folder(folder_, output)),
      content_(content),
      output_(output),
      use_(use),
      runtime_(runtime) {}

bool DumpFolder::is_finished() {
  // What rank 0 found: 2 a finished dump, 1 one whose job died before it said so, 0 anything else.
  std::int64_t found = 0;
  if (runtime_.ranks.is_root() && output_.check != "always" && io::has_embedding_manifest(folder_)) {
    try {
      const auto fingerprint = io::EmbeddingReader(folder_).manifest().identity.fingerprint();
      if (fingerprint == content_.identity.fingerprint()) found = fs::exists(folder_ / "DONE") ? 2 : 1;
    } catch (const DataError& error) {
      runtime_.log.warn(fmt::format("the dump is damaged and will be mended: {}", error.what()));
    }
  }
  runtime_.ranks.all_reduce_max(std::span(&found, 1));
  check_all_ = output_.check == "always" || (output_.check == "unfinished" && found == 0);
  if (found == 2) runtime_.log.info(fmt::format("{} is finished already", folder_.string()));
  return found == 2;
}

void DumpFolder::open(const std::string& config_text) {
  auto& ranks = runtime_.ranks;
  const auto fingerprint = content_.identity.fingerprint();
  sharding::together(ranks, [&] {
    if (!ranks.is_root()) return;
    if (use_ == Use::shared) check_current();
    if (is_array()) claim_run_folder(folder_, kProgram, fingerprint);
    run_dir_.emplace(own_, kProgram, config_text, fingerprint, ranks.size(), runtime_.backend->description());
    attempt_ = io::Attempt::begin(own_);
    run_dir_->clear_state();
    run_dir_->mend_metrics();
    remove_leftovers(false);
  });
  const auto number = ranks.broadcast_text(attempt_ ? std::to_string(attempt_->number()) : "");
  attempt_ = io::Attempt::join(own_, std::stoll(number));
  runtime_.begin_heartbeat(attempt_->folder());
  if (use_ == Use::own) {  // else a failure is told in the folder of whom the dump is made for
    runtime_.run_folder = own_;
    runtime_.owns_run_folder = [attempt = *attempt_] { return attempt.is_current(); };
  }
  fault_point("dump.begun");
}

void DumpFolder::check_current() const {
  if (use_ == Use::own) return attempt_->check_current();
  if (!runtime_.owns_run_folder())
    throw SystemError(
        fmt::format("this start of the job around {} has been superseded by a newer one: that one goes on, so this one "
                    "ends and writes nothing more; start one job per run folder",
                    folder_.string()));
}

void DumpFolder::append_metrics(nlohmann::ordered_json line) {
  if (!run_dir_) return;
  check_current();
  line["attempt"] = attempt_->number();
  line["ranks"] = runtime_.ranks.size();
  run_dir_->append_metrics(json_text(line));
}

io::PartPlacement DumpFolder::placement_of(std::size_t part) const {
  const auto name = attempt_->partial_path(content_.part_path(folder_, part)).filename();
  return {.partial = attempt_->folder() / name, .before_commit = [this] { check_current(); }};
}

// Older attempts of this task cannot commit any more; once the set is complete nobody needs to.
void DumpFolder::remove_leftovers(bool of_all) const {
  const auto all = std::numeric_limits<std::int64_t>::max();
  remove_partials_of_attempts(own_, of_all ? all : attempt_->number());
  if (!of_all) return;
  remove_partials_of_attempts(folder_, all);
  std::error_code error;
  for (fs::directory_iterator task(folder_ / "tasks", error), end; !error && task != end; task.increment(error))
    remove_partials_of_attempts(task->path(), all);
}

bool DumpFolder::is_there(std::size_t part) const {
  return inspect(part, false) == PartState::good;
}

DumpFolder::PartState DumpFolder::inspect(std::size_t part, bool all_of_it) const {
  const auto path = content_.part_path(folder_, part);
  if (!fs::exists(path)) return PartState::absent;
  try {
    const io::EmbeddingPartReader reader(path);
    if (all_of_it) reader.verify_file();
    if (content_.is_held_by(reader, part)) return PartState::good;
    runtime_.log.warn(fmt::format("{} holds something else than this dump's part", path.string()));
  } catch (const Error& error) {
    runtime_.log.warn(fmt::format("a part is damaged: {}", error.what()));
  }
  return PartState::bad;
}

// Moves it out of the way first: another job may have put a good one in its place since it was looked at.
void DumpFolder::remove_damaged(std::size_t part, std::uint64_t inode) const {
  const auto path = content_.part_path(folder_, part);
  check_current();
  if (inode_of(path) != inode) return;
  const auto aside = placement_of(part).partial;
  std::error_code error;
  fs::rename(path, aside, error);
  if (error && fs::exists(path))
    throw SystemError(fmt::format("cannot move the damaged {} out of the way: {}", path.string(), error.message()));
  if (!error && inode_of(aside) != inode) {
    commit_file_once(aside, path);
    return;
  }
  fs::remove(aside, error);
  fault_point("dump.damaged_part_removed");
}

std::vector<bool> DumpFolder::find_missing() {
  const auto task_of = assign_parts(content_.parts, std::vector<bool>(content_.parts.size(), true),
                                    static_cast<int>(output_.task_count));
  std::vector<std::int64_t> missing(content_.parts.size());
  std::int64_t looked_at = 0;
  sharding::together(runtime_.ranks, [&] {
    for (std::size_t part = 0; part < missing.size(); ++part) {
      if (task_of[part] != output_.task_index || looked_at++ % runtime_.ranks.size() != runtime_.ranks.rank()) continue;
      const auto inode = inode_of(content_.part_path(folder_, part));
      const auto state = inspect(part, check_all_);
      if (state == PartState::bad) remove_damaged(part, inode);
      missing[part] = state == PartState::good ? 0 : 1;
    }
  });
  runtime_.ranks.all_reduce_sum(std::span(missing));
  return {missing.begin(), missing.end()};
}

void DumpFolder::require_space(const std::vector<bool>& missing) const {
  std::int64_t bytes = 0;
  for (std::size_t part = 0; part < missing.size(); ++part) {
    if (missing[part]) bytes += bytes_of(content_.parts[part], content_.identity);
  }
  sharding::together(runtime_.ranks, [&] {
    if (runtime_.ranks.is_root()) require_free_space(folder_, static_cast<std::uint64_t>(bytes), "the latents");
  });
}

void DumpFolder::stop() {
  runtime_.ranks.barrier();
  if (!runtime_.ranks.is_root()) return;
  check_current();
  run_dir_->commit_state(RunState::stopped, "stopped between two parts; the same command fills the gaps");
}

void DumpFolder::finish() {
  runtime_.ranks.barrier();
  fault_point("dump.all_committed");
  sharding::together(runtime_.ranks, [&] {
    if (!runtime_.ranks.is_root()) return;
    check_current();
    io::EmbeddingManifest manifest{.identity = content_.identity};
    std::string lost;
    for (std::size_t part = 0; part < content_.parts.size(); ++part) {
      const auto path = content_.part_path(folder_, part);
      if (!is_there(part)) {
        lost += " " + path.filename().string();
        continue;
      }
      const io::EmbeddingPartReader reader(path);
      manifest.parts.push_back(reader.entry());
      manifest.moments.add(reader.moments());
    }
    if (lost.empty()) return write_manifest(manifest);
    if (!is_array())
      throw SystemError(
          fmt::format("{}: the dump is incomplete, these parts are missing:{}. Run the same command again",
                      folder_.string(), lost));
    run_dir_->commit_state(RunState::done,
                           fmt::format("this task's parts are there; of other tasks are missing:{}", lost));
    runtime_.log.info(fmt::format("this task's parts are there; the set lacks{}", lost));
  });
}

void DumpFolder::write_manifest(const io::EmbeddingManifest& parts) const {
  auto manifest = parts;
  if (manifest.moments.mean.empty()) {
    manifest.moments.mean.resize(static_cast<std::size_t>(content_.identity.width));
    manifest.moments.squared_deviations.resize(static_cast<std::size_t>(content_.identity.width));
  }
  manifest.source_records = content_.source.sequences->size();
  manifest.source_residues = content_.residues();
  check(manifest.records() == manifest.source_records && manifest.residues() == manifest.source_residues,
        "the parts hold every record of the source once");
  io::write_embedding_manifest(folder_, manifest);
  fault_point("dump.manifest_written");
  if (manifest.overflows() > 0) {
    runtime_.log.warn(fmt::format(
        "{} values do not fit float16 and were stored as infinity: use output.element=float32", manifest.overflows()));
  }
  remove_leftovers(true);
  const auto reason = "all parts and the manifest are written";
  if (is_array()) commit_run_state(own_, RunState::done, reason);
  commit_run_state(folder_, RunState::done, reason);
  runtime_.log.info(fmt::format("{} records in {}", manifest.records(), folder_.string()));
}

}  // namespace lsd::tasks
