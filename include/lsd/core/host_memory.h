// SPDX-License-Identifier: Apache-2.0
#pragma once
// How much memory this machine, or this process's control group (a container, a job), still has.

#include <cstdint>
#include <string>

namespace lsd {

std::uint64_t available_host_memory();  // bytes; 2^64 - 1 where nobody says

// "80GiB", "512 MiB", "16GB", "1048576": bytes. Throws UserError on anything else.
std::uint64_t bytes_from_text(const std::string& text);

}  // namespace lsd
