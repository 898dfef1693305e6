// SPDX-License-Identifier: Apache-2.0
#pragma once
// Turns MPI's error codes into SystemError.

#include <mpi.h>

#include <string_view>

namespace lsd::dist {

void check_mpi(int code, std::string_view what);

}  // namespace lsd::dist
