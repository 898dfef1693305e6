// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/core/fault_point.h"
#include "lsd/core/host_name.h"
#include "lsd/core/log.h"
#include "lsd/core/partial_files.h"
#include "lsd/core/system_problem.h"

namespace fs = std::filesystem;

namespace lsd {
namespace {

constexpr std::uint64_t kReserveBytes = std::uint64_t{64} << 20U;

[[noreturn]] void fail(std::string_view what, const fs::path& path) {
  const int code = errno;
  throw SystemError("cannot " + std::string(what) + " " + path.string() + ": " + system_problem(code));
}

class FileDescriptor {
 public:
  // `named` stands in messages: the file that people know of.
  FileDescriptor(const fs::path& path, int flags, const fs::path& named)
      : path_(named), number_(::open(path.c_str(), flags | O_CLOEXEC, 0666)) {
    if (number_ < 0) fail((flags & O_CREAT) != 0 ? "write" : "open", path_);
  }
  FileDescriptor(const fs::path& path, int flags) : FileDescriptor(path, flags, path) {}
  ~FileDescriptor() {
    if (number_ >= 0) ::close(number_);
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::write(number_, bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail("write", path_);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
  }
  // Some network file systems know no sync of folders and say EINVAL; their rename is durable by itself.
  void sync(bool folder) {
    if (::fsync(number_) != 0 && !(folder && (errno == EINVAL || errno == ENOTSUP))) fail("sync", path_);
  }
  void close() {
    if (::close(std::exchange(number_, -1)) != 0) fail("close", path_);
  }

 private:
  fs::path path_;
  int number_;
};

void sync_file(const fs::path& path) {
  FileDescriptor file(path, O_RDONLY);
  file.sync(false);
  file.close();
  fault_point("file.synced");
}

void sync_folder(const fs::path& path) {
  FileDescriptor folder(path.empty() ? fs::path(".") : path, O_RDONLY | O_DIRECTORY);
  folder.sync(true);
}

[[noreturn]] void fail_to_rename(const fs::path& from, const fs::path& to) {
  fail("put in place (rename) " + from.string() + " as", to);
}

// False when `from` is not there.
bool rename_and_sync_parent(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    if (errno == ENOENT) return false;
    fail_to_rename(from, to);
  }
  sync_folder(to.parent_path());
  return true;
}

fs::path without_trailing_slash(const fs::path& path) {
  return path.has_filename() ? path : path.parent_path();
}

// Tells attempts apart across processes and machines that share a file system.
const std::string& process_token() {
  static const std::string token = [] {
    const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
    const auto text = host_name() + ":" + std::to_string(::getpid()) + ":" + std::to_string(now);
    return checksum_hex(checksum64(text)).substr(0, 8);
  }();
  return token;
}

}  // namespace

fs::path partial_path(const fs::path& path) {
  static std::atomic<std::uint64_t> calls{0};
  fs::path partial = without_trailing_slash(path);
  partial += "." + process_token() + "-" + std::to_string(calls.fetch_add(1)) + std::string(kPartialSuffix);
  return partial;
}

void commit_file(const fs::path& partial, const fs::path& path) {
  sync_file(partial);
  if (!rename_and_sync_parent(partial, path)) fail_to_rename(partial, path);
  fault_point("file.renamed");
}

namespace {

enum class Naming { done, taken, unsupported };

// A second name for the file. A network file system may lose the answer and find its own link when it asks again.
Naming link_once(const fs::path& partial, const fs::path& path) {
  if (::link(partial.c_str(), path.c_str()) == 0) return Naming::done;
  const int code = errno;
  std::error_code ignored;
  if (fs::equivalent(partial, path, ignored)) return Naming::done;
  if (code == EEXIST || (code == ENOENT && fs::exists(path))) return Naming::taken;
  if (code == EPERM || code == EOPNOTSUPP || code == ENOSYS || code == EMLINK) return Naming::unsupported;
  errno = code;
  fail("put in place (link) " + partial.string() + " as", path);
}

Naming rename_once(const fs::path& partial, const fs::path& path) {
  if (::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, path.c_str(), RENAME_NOREPLACE) == 0) return Naming::done;
  if (errno == EEXIST || fs::exists(path)) return Naming::taken;
  if (::rename(partial.c_str(), path.c_str()) != 0) fail("put in place (rename) " + partial.string() + " as", path);
  return Naming::done;
}

}  // namespace

bool commit_file_once(const fs::path& partial, const fs::path& path) {
  if (!fs::exists(partial) && fs::exists(path)) return false;  // cleared away by whoever finished the set
  sync_file(partial);
  auto naming = link_once(partial, path);
  if (naming == Naming::done) fault_point("file.linked");
  if (naming == Naming::unsupported) naming = rename_once(partial, path);
  std::error_code ignored;
  fs::remove(partial, ignored);
  if (naming == Naming::done) sync_folder(path.parent_path());
  return naming == Naming::done;
}

void sync_tree(const fs::path& partial) {
  for (const auto& entry : fs::recursive_directory_iterator(partial)) {
    if (entry.is_regular_file()) sync_file(entry.path());
    if (entry.is_directory()) sync_folder(entry.path());
  }
  sync_folder(partial);
  fault_point("folder.synced");
}

void commit_folder(const fs::path& partial, const fs::path& path) {
  sync_tree(partial);
  const auto from = without_trailing_slash(partial), to = without_trailing_slash(path);
  if (!rename_and_sync_parent(from, to)) fail_to_rename(from, to);
  fault_point("folder.renamed");
}

namespace {

// False when somebody took the partial file away before it was put in place.
bool try_to_write_file(const fs::path& path, std::span<const std::byte> bytes) {
  const fs::path partial = partial_path(path);
  try {
    FileDescriptor file(partial, O_WRONLY | O_CREAT | O_EXCL, path);
    fault_point("file.opened");
    file.write(bytes);
    fault_point("file.written");
    file.sync(false);
    file.close();
    fault_point("file.synced");
    if (!rename_and_sync_parent(partial, path)) return false;
    fault_point("file.renamed");
    return true;
  } catch (...) {
    std::error_code ignored;
    fs::remove(partial, ignored);
    throw;
  }
}

}  // namespace

// A job that starts on the same folder in this very moment takes partial files for leftovers and removes them.
void write_file_atomically(const fs::path& path, std::span<const std::byte> bytes) {
  constexpr int kTries = 5;
  for (int tries = 0; tries < kTries; ++tries)
    if (try_to_write_file(path, bytes)) return;
  throw SystemError("cannot write " + path.string() + ": another process keeps removing what is written beside it");
}

void write_file_atomically(const fs::path& path, std::string_view text) {
  write_file_atomically(path, std::as_bytes(std::span(text.data(), text.size())));
}

std::string read_text_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || fs::is_directory(path))
    throw DataError("cannot read " + path.string() + ": no such file, or not readable; check the path and its rights");
  std::ostringstream text;
  text << file.rdbuf();
  if (file.bad()) throw SystemError("cannot read " + path.string() + " to its end");
  return std::move(text).str();
}

std::uint64_t free_bytes_at(const fs::path& path) {
  fs::path existing = fs::absolute(path);
  while (!fs::exists(existing) && existing.has_relative_path()) existing = existing.parent_path();
  std::error_code error;
  const auto space = fs::space(existing, error);
  if (error) throw SystemError("cannot tell the free space at " + existing.string() + ": " + error.message());
  return space.available;
}

void require_free_space(const fs::path& path, std::uint64_t bytes, std::string_view what_for) {
  const std::uint64_t available = free_bytes_at(path);
  if (available >= kReserveBytes && available - kReserveBytes >= bytes) return;
  throw SystemError("not enough space for " + std::string(what_for) + " at " + path.string() + ": needs " +
                    human_bytes(static_cast<double>(bytes)) + " and a reserve of " + human_bytes(kReserveBytes) + ", " +
                    human_bytes(static_cast<double>(available)) + " are free; free some or write elsewhere");
}

void remove_partials(const fs::path& folder) {
  remove_partials_if(folder, [](const std::string&) { return true; });
}

}  // namespace lsd
