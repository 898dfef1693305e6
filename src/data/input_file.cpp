// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "byte_stream_internal.h"
#include "lsd/core/error.h"
#include "lsd/core/system_problem.h"

namespace lsd::data {
namespace {

struct Magic {
  std::string_view bytes;
  std::string_view kind;
};

// Kinds of file that people hand in by mistake, and that would otherwise fail with a less helpful message.
constexpr std::array<Magic, 7> kForeignKinds = {{{"BZh", "bzip2-compressed"},
                                                 {"\xFD"
                                                  "7zXZ",
                                                  "xz-compressed"},
                                                 {"PK\x03\x04", "a zip archive"},
                                                 {"\x89HDF\r\n", "HDF5"},
                                                 {"\xFF\xFE", "UTF-16 text"},
                                                 {"\xFE\xFF", "UTF-16 text"},
                                                 {"CRAM", "CRAM"}}};

}  // namespace

std::string_view encoding_name(Encoding encoding) {
  switch (encoding) {
    case Encoding::gzip:
      return "gzip";
    case Encoding::zstd:
      return "zstd";
    default:
      return "plain";
  }
}

InputFile::InputFile(const std::string& path, std::uint64_t start) : name_(path == "-" ? "<standard input>" : path) {
  open(path, start);
  try {
    if (start == 0) look_at_head();
  } catch (...) {
    if (path != "-") ::close(file_);
    throw;
  }
  if (path == "-") return;
  struct stat status {};
  splittable_ = ::fstat(file_, &status) == 0 && S_ISREG(status.st_mode) && encoding_ == Encoding::plain;
}

void InputFile::open(const std::string& path, std::uint64_t start) {
  if (path == "-") {
    file_ = STDIN_FILENO;
    return;
  }
  file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file_ < 0) throw DataError(fmt::format("cannot open {}: {}", path, system_problem(errno)));
  struct stat status {};
  if (::fstat(file_, &status) == 0 && S_ISDIR(status.st_mode)) {
    ::close(file_);
    throw DataError(fmt::format("{} is a folder: name the files in it", path));
  }
  ::posix_fadvise(file_, 0, 0, POSIX_FADV_SEQUENTIAL);
  if (start > 0 && ::lseek(file_, static_cast<off_t>(start), SEEK_SET) < 0)
    throw SystemError(fmt::format("cannot seek in {}: {}", path, std::strerror(errno)));
}

InputFile::~InputFile() {
  if (file_ > STDIN_FILENO) ::close(file_);
}

void InputFile::look_at_head() {
  while (head_size_ < sizeof(head_)) {
    const auto count = read_from_file(std::span(head_).subspan(head_size_));
    if (count == 0) break;
    head_size_ += count;
  }
  const std::string_view head(head_, head_size_);
  for (const auto& magic : kForeignKinds) {
    if (head.starts_with(magic.bytes)) {
      throw DataError(fmt::format("{} is {}: hand it in as plain text, gzip or zstd", name_, magic.kind));
    }
  }
  if (head.starts_with("\x1F\x8B")) encoding_ = Encoding::gzip;
  const bool skippable = head.size() >= 4 && (head[0] & 0xF0) == 0x50 && head.substr(1, 3) == "\x2A\x4D\x18";
  if (head.starts_with("\x28\xB5\x2F\xFD") || skippable) encoding_ = Encoding::zstd;
}

std::size_t InputFile::read_from_file(std::span<char> out) {
  while (true) {
    const auto count = ::read(file_, out.data(), out.size());
    if (count >= 0) {
      bytes_read_ += static_cast<std::uint64_t>(count);
      return static_cast<std::size_t>(count);
    }
    if (errno != EINTR) throw SystemError(fmt::format("cannot read {}: {}", name_, std::strerror(errno)));
  }
}

std::size_t InputFile::read(std::span<char> out) {
  std::size_t filled = std::min(out.size(), head_size_ - head_used_);
  std::memcpy(out.data(), head_ + head_used_, filled);
  head_used_ += filled;
  while (filled < out.size()) {
    const auto count = read_from_file(out.subspan(filled));
    if (count == 0) break;
    filled += count;
  }
  return filled;
}

}  // namespace lsd::data
