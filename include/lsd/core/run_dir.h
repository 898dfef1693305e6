// SPDX-License-Identifier: Apache-2.0
#pragma once
// The folder of one run: resolved config, environment, metrics and the state that the launcher's exit code cannot be
// trusted with. Only rank 0 writes here.
//
//   config.cfg        every option with its value, as --print-config shows it
//   environment.json  program, fingerprint, and per start: version, git revision, host, ranks, libraries, time, and
//                     what computed on rank 0 (device, threads)
//   metrics.jsonl     one JSON object per line
//   DONE | STOPPED | FAILED   exactly one once the program has ended; JSON with the reason
//
// A folder belongs to one run, that is one program and fingerprint (a hash of the options that decide results). Where
// all starts ended without a result (refused for an option, no space) another run takes the folder over; attempts/
// stays, so that a newer start outranks whatever is left of the older one. A launcher that wants to know its own
// start's word puts the one before aside, as FAILED.partial or STOPPED.partial.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

namespace lsd {

enum class RunState { fresh, running, done, stopped, failed };

// Puts the state file in place; `state` is done, stopped or failed.
void commit_run_state(const std::filesystem::path& folder, RunState state, std::string_view reason);

// The same where no state stands yet: another rank may have told a better reason before. Gives what it did.
bool commit_run_state_unless_ended(const std::filesystem::path& folder, RunState state, std::string_view reason);

// For several jobs that share a folder and know nothing of each other: makes it and its environment.json, whoever comes
// first, and leaves the rest alone. Throws UserError when it holds another run or files that no run of ours made.
void claim_run_folder(const std::filesystem::path& folder, std::string_view program, std::string_view fingerprint);

class RunDir {
 public:
  // Makes the folder if needed. Throws UserError when it holds another run that has made something or may still run, or
  // files that no run of ours made. `backend`: what computes, in its own words; nothing for programs that do not.
  RunDir(std::filesystem::path folder, std::string_view program, std::string_view config_text,
         std::string_view fingerprint, int ranks = 1, std::string_view backend = {});

  const std::filesystem::path& path() const { return folder_; }
  // fresh: no run was here before this object; running: one was, and ended without a word (killed, power cut).
  RunState state() const;
  void commit_state(RunState state, std::string_view reason) { commit_run_state(folder_, state, reason); }
  void clear_state();                               // a run starts or goes on
  void append_metrics(std::string_view json_line);  // one line, flushed
  // Drops metric lines whose "step" exceeds `step`, and a torn last line: a resumed run writes them again. Throws
  // DataError naming a line that is damaged.
  void truncate_metrics_after(std::int64_t step);
  // Drops a torn last line, before others are appended. For runs whose lines nobody reads back.
  void mend_metrics();

 private:
  std::filesystem::path folder_;
  std::ofstream metrics_;
  bool was_here_ = false;
};

}  // namespace lsd
