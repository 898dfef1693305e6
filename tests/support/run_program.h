// SPDX-License-Identifier: Apache-2.0
#pragma once
// Runs a command line through the shell and keeps what came of it.

#include <stdlib.h>
#include <sys/wait.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "lsd/core/atomic_file.h"
#include "support/temporary_folder.h"

namespace lsd::testing {

struct ProgramResult {
  int exit_code = -1;  // 128 + signal when a signal ended it
  std::string out;
  std::string err;
  double seconds = 0;
};

inline ProgramResult run_program(const std::string& command) {
  const TemporaryFolder folder;
  const auto start = std::chrono::steady_clock::now();
  const std::string full =
      "( " + command + " ) </dev/null >" + (folder / "out").string() + " 2>" + (folder / "err").string();
  const int status = std::system(full.c_str());
  ProgramResult result;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  result.out = read_text_file(folder / "out");
  result.err = read_text_file(folder / "err");
  return result;
}

}  // namespace lsd::testing
