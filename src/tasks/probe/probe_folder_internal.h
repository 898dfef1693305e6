// SPDX-License-Identifier: Apache-2.0
#pragma once
// The run directory of a probe as all ranks see it. Every start is an attempt (lsd/io/attempt.h): once a newer one has
// begun, nothing is written there any more, neither results nor the state, and whoever tries meets a SystemError.

#include <filesystem>
#include <optional>
#include <string>

#include "lsd/core/run_dir.h"
#include "lsd/io/attempt.h"
#include "lsd/tasks/runtime.h"
#include "probe_result_internal.h"

namespace lsd::tasks {

class ProbeFolder {
 public:
  ProbeFolder(std::filesystem::path folder, Runtime& runtime) : folder_(std::move(folder)), runtime_(runtime) {}

  const std::filesystem::path& path() const { return folder_; }
  // Collective: begins an attempt.
  void open(const std::string& config_text, const std::string& fingerprint);
  // The state that run_app commits after an error goes here again (a dump in the cache takes it meanwhile).
  void take_state() { runtime_.run_folder = folder_; }
  // True when a file of the same content is there. Another result under the same name is an error.
  bool holds(const ProbeResult& result);
  void write(const ProbeResult& result, double seconds);  // that its head took
  // Collective: what the worst of the ranks met.
  Outcome end(RunState state, std::string_view reason);

 private:
  std::filesystem::path folder_;
  Runtime& runtime_;
  std::optional<RunDir> run_dir_;  // rank 0
  std::optional<io::Attempt> attempt_;
  void gather_metrics();

  std::int64_t written_ = 0, found_ = 0;  // results of this rank
  std::string metrics_;                   // their lines, for rank 0 to write
};

}  // namespace lsd::tasks
