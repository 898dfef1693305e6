// SPDX-License-Identifier: Apache-2.0
#pragma once
// The folder of a dump and who may write what there. Several jobs may fill one dump at the same time (the tasks of a
// job array, each with ranks of its own), a job may be started twice, and one that was cut off may come back:
//   - the parts are shared out to tasks, and a task's parts to its ranks, by their tokens;
//   - a part is written below <own folder>/attempts/NNNN/ and put in place by commit_file_once, so only one writer of a
//     part succeeds, and only while no newer attempt of the same task has begun;
//   - whoever finds the set complete writes the manifest.
// The folder of a single job is the dump's own; task 2 of 8 has tasks/0002-of-0008/ for its state and attempts.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "dump_content_internal.h"
#include "lsd/core/run_dir.h"
#include "lsd/io/attempt.h"

namespace lsd::tasks {

class DumpFolder {
 public:
  // A shared folder (a probe's cache) lies in the run folder of the job around it, whose newest start alone writes
  // there.
  enum class Use { own, shared };
  DumpFolder(std::filesystem::path folder, const DumpContent& content, const DumpOutputConfig& output, Use use,
             Runtime& runtime);

  const std::filesystem::path& path() const { return folder_; }
  // All of these are collective.
  bool is_finished();                         // complete, and no full check was asked for; to be asked first
  void open(const std::string& config_text);  // begins an attempt
  std::vector<bool> find_missing();           // of this task's parts; damaged ones are removed
  void require_space(const std::vector<bool>& missing) const;
  void finish();  // the manifest when the set is complete; else throws or leaves it
  void stop();    // the state of a job that was told to stop

  // On rank 0, while it owns the folder.
  void append_metrics(nlohmann::ordered_json line);

  io::PartPlacement placement_of(std::size_t part) const;
  bool is_there(std::size_t part) const;  // a file that holds the part; tells about one that does not

 private:
  enum class PartState { absent, good, bad };
  bool is_array() const { return output_.task_count > 1; }
  PartState inspect(std::size_t part, bool all_of_it) const;
  void remove_damaged(std::size_t part, std::uint64_t inode) const;
  void remove_leftovers(bool of_all) const;
  void write_manifest(const io::EmbeddingManifest& manifest) const;
  void check_current() const;

  std::filesystem::path folder_, own_;
  const DumpContent& content_;
  const DumpOutputConfig& output_;
  Use use_;
  Runtime& runtime_;
  bool check_all_ = false;         // parts that are there are read whole
  std::optional<RunDir> run_dir_;  // rank 0
  std::optional<io::Attempt> attempt_;
};

}  // namespace lsd::tasks
