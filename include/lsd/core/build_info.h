// SPDX-License-Identifier: Apache-2.0
#pragma once
// What this program was built from; kept with every result.

#include <string_view>

namespace lsd {

std::string_view version();       // "0.1.0"
std::string_view git_revision();  // "1a2b3c4d5e6f", with "+changes" when files differed; "unknown" outside a checkout
std::string_view libraries();     // "Open MPI 4.1.4, HDF5 1.10.8, ..."
std::string_view compiler();      // "GNU 12.2.0, Release"

}  // namespace lsd
