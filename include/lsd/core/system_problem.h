// SPDX-License-Identifier: Apache-2.0
#pragma once
// What the system said no to, in words, and what to do where that is known:
// "Permission denied; look at the rights of it and of its folders (ls -ld)".

#include <string>

namespace lsd {

std::string system_problem(int code);  // of errno

}  // namespace lsd
