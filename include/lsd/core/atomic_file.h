// SPDX-License-Identifier: Apache-2.0
#pragma once
// Files that appear whole or not at all: written beside their place under a name that says so and names the attempt,
// synced, then renamed; the folder is synced too.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace lsd {

// <path>.<attempt>.partial; the attempt is unique per process and call.
std::filesystem::path partial_path(const std::filesystem::path& path);
// Syncs `partial` to disk, renames it to `path`, syncs the folder. Throws SystemError.
void commit_file(const std::filesystem::path& partial, const std::filesystem::path& path);
// The same, unless `path` is there: then `partial` is removed and it gives false. Of several processes, on one machine
// or many, one succeeds. By link(2), which NFS and Lustre have (they know no RENAME_NOREPLACE); where a file system has
// no hard links by renameat2(2), and where it has neither by looking and renaming.
bool commit_file_once(const std::filesystem::path& partial, const std::filesystem::path& path);
// The same for a folder whose files are complete: syncs every file in it, renames, syncs the parent.
void commit_folder(const std::filesystem::path& partial, const std::filesystem::path& path);
// Syncs a folder and every file in it.
void sync_tree(const std::filesystem::path& folder);
void write_file_atomically(const std::filesystem::path& path, std::string_view text);
void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> bytes);
std::string read_text_file(const std::filesystem::path& path);   // throws DataError naming the path
std::uint64_t free_bytes_at(const std::filesystem::path& path);  // of the file system that holds it (or its parent)
// Throws SystemError naming both sizes unless `bytes` plus a reserve of 64 MiB are free.
void require_free_space(const std::filesystem::path& path, std::uint64_t bytes, std::string_view what_for);
// Removes leftovers (*.partial) of attempts that died, in one folder. Never touches anything else.
void remove_partials(const std::filesystem::path& folder);

}  // namespace lsd
