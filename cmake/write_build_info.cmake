# SPDX-License-Identifier: Apache-2.0
# Run at every build (cmake -P): writes OUTPUT, and touches it only when something changed, so that an unchanged tree
# rebuilds nothing.
set(revision unknown)
find_package(Git QUIET)
if(GIT_FOUND)
  execute_process(COMMAND "${GIT_EXECUTABLE}" -C "${SOURCE_DIR}" rev-parse --short=12 HEAD
    OUTPUT_VARIABLE head OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    set(revision "${head}")
    execute_process(COMMAND "${GIT_EXECUTABLE}" -C "${SOURCE_DIR}" status --porcelain --untracked-files=no
      OUTPUT_VARIABLE changes ERROR_QUIET)
    if(changes)
      string(APPEND revision "+changes")
    endif()
  endif()
endif()
file(CONFIGURE OUTPUT "${OUTPUT}" CONTENT [[// Written by cmake/write_build_info.cmake.
#pragma once
#include <string_view>

namespace lsd::generated {
inline constexpr std::string_view kVersion = "@VERSION@";
inline constexpr std::string_view kGitRevision = "@revision@";
inline constexpr std::string_view kLibraries = "@LIBRARIES@";
inline constexpr std::string_view kCompiler = "@COMPILER@";
}  // namespace lsd::generated
]] @ONLY)
