// SPDX-License-Identifier: Apache-2.0
#pragma once
// How much memory this machine, or this process's control groups (a container, a job), still have.

#include <cstdint>
#include <filesystem>
#include <string>

namespace lsd {

std::uint64_t available_host_memory();  // bytes; 2^64 - 1 where nobody says

// The same of the control groups alone, versions 1 and 2: the least that is left in the group which `memberships` (as
// /proc/self/cgroup) names below `root`, or in one around it. Slurm limits a job, a step and a task by groups within
// each other. Pages of files count as free: they are given up for what needs memory.
std::uint64_t available_in_control_groups(const std::filesystem::path& memberships, const std::filesystem::path& root);

// "80GiB", "512 MiB", "16GB", "1048576": bytes. Throws UserError on anything else.
std::uint64_t bytes_from_text(const std::string& text);

}  // namespace lsd
