// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "scan_file_internal.h"

namespace lsd::tasks::verifying {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{4} << 20U;  // several requests of the largest size that disks take
// The disk reads this far ahead while a buffer is summed: without it, it would stand idle meanwhile.
constexpr std::uint64_t kAheadBytes = 4 * kBufferBytes;

// Owns a descriptor for the time of one scan.
class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path)
      : path_(path), number_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (number_ < 0) throw DataError(fmt::format("it cannot be opened: {}", std::strerror(errno)));
    ::posix_fadvise(number_, 0, 0, POSIX_FADV_SEQUENTIAL);
  }
  ~OpenFile() { ::close(number_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  std::uint64_t size() const {
    struct stat status {};
    if (::fstat(number_, &status) != 0) throw DataError(fmt::format("it has no size: {}", std::strerror(errno)));
    return static_cast<std::uint64_t>(status.st_size);
  }
  void read_ahead(std::uint64_t from) const {
    ::posix_fadvise(number_, static_cast<off_t>(from), static_cast<off_t>(kAheadBytes), POSIX_FADV_WILLNEED);
  }
  std::size_t read(std::span<std::byte> to, std::uint64_t from) const {
    while (true) {
      const ssize_t count = ::pread(number_, to.data(), to.size(), static_cast<off_t>(from));
      if (count >= 0) return static_cast<std::size_t>(count);
      if (errno != EINTR) throw DataError(fmt::format("it cannot be read at byte {}: {}", from, std::strerror(errno)));
    }
  }

 private:
  std::filesystem::path path_;
  int number_;
};

}  // namespace

Reading::Reading(std::atomic<std::int64_t>& bytes_read, const StopSignal& stop)
    : bytes_read_(bytes_read), stop_(stop), buffer_(kBufferBytes) {}

Reading::Content Reading::scan(const std::filesystem::path& path, std::size_t tail_bytes) {
  const OpenFile file(path);
  const auto size = file.size();
  const auto body = size - std::min<std::uint64_t>(tail_bytes, size);
  ChecksumStream checksum;
  Content content;
  for (std::uint64_t at = 0; at < size && !stopped();) {
    const auto count = file.read(buffer_, at);
    if (count == 0) throw DataError(fmt::format("it ends at byte {} of {} while it is read", at, size));
    file.read_ahead(at + count);
    const auto in_body = static_cast<std::size_t>(std::min<std::uint64_t>(count, body - std::min(at, body)));
    checksum.add(std::span(buffer_).first(in_body));
    content.tail.append(reinterpret_cast<const char*>(buffer_.data()) + in_body, count - in_body);
    at += count;
    bytes_read_.fetch_add(static_cast<std::int64_t>(count), std::memory_order_relaxed);
  }
  content.checksum = checksum.value();
  return content;
}

}  // namespace lsd::tasks::verifying
