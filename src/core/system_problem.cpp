// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/system_problem.h"

#include <cerrno>
#include <cstring>

namespace lsd {

std::string system_problem(int code) {
  const std::string problem = std::strerror(code);
  if (code == EACCES || code == EPERM) return problem + "; look at the rights of it and of its folders (ls -ld)";
  if (code == EROFS) return problem + "; choose a place where you may write";
  if (code == ENOENT || code == ENOTDIR) return problem + "; check the path";
  if (code == ENOSPC || code == EDQUOT) return problem + "; free some space or write elsewhere";
  return problem;
}

}  // namespace lsd
