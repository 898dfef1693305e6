// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/checksum.h"

#include <xxhash.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "lsd/core/error.h"
#include "lsd/core/system_problem.h"

namespace lsd {

std::uint64_t checksum64(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::uint64_t checksum64(std::string_view text) {
  return XXH3_64bits(text.data(), text.size());
}

std::string checksum_hex(std::uint64_t checksum) {
  std::string digits(16, '0');
  for (auto digit = digits.rbegin(); digit != digits.rend(); ++digit, checksum >>= 4U)
    *digit = "0123456789abcdef"[checksum & 15U];
  return digits;
}

std::uint64_t checksum_of_file(const std::filesystem::path& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!file) throw DataError("cannot open " + path.string() + ": " + system_problem(errno));
  std::setvbuf(file.get(), nullptr, _IONBF, 0);  // the buffer below is the only one
  std::vector<std::byte> buffer(std::size_t{1} << 20U);
  ChecksumStream stream;
  std::size_t count = 0;
  while ((count = std::fread(buffer.data(), 1, buffer.size(), file.get())) > 0) stream.add({buffer.data(), count});
  if (std::ferror(file.get()) != 0) throw SystemError("cannot read " + path.string() + ": " + std::strerror(errno));
  return stream.value();
}

struct ChecksumStream::State {
  struct Free {
    void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
  };
  std::unique_ptr<XXH3_state_t, Free> hash{XXH3_createState()};
};

ChecksumStream::ChecksumStream() : state_(std::make_unique<State>()) {
  if (!state_->hash || XXH3_64bits_reset(state_->hash.get()) != XXH_OK) throw SystemError("no memory for a checksum");
}

ChecksumStream::~ChecksumStream() = default;

void ChecksumStream::add(std::span<const std::byte> bytes) {
  check(XXH3_64bits_update(state_->hash.get(), bytes.data(), bytes.size()) == XXH_OK, "XXH3 takes any bytes");
}

std::uint64_t ChecksumStream::value() const {
  return XXH3_64bits_digest(state_->hash.get());
}

}  // namespace lsd
