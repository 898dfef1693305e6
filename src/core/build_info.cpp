// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/build_info.h"

#include "build_info_generated.h"

namespace lsd {

std::string_view version() {
  return generated::kVersion;
}
std::string_view git_revision() {
  return generated::kGitRevision;
}
std::string_view libraries() {
  return generated::kLibraries;
}
std::string_view compiler() {
  return generated::kCompiler;
}

}  // namespace lsd
