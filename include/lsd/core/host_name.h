// SPDX-License-Identifier: Apache-2.0
#pragma once
// This machine's name, for people and to tell apart what runs on different machines.

#include <string>

namespace lsd {

std::string host_name();  // "unknown host" where the system does not say

}  // namespace lsd
