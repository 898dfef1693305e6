// SPDX-License-Identifier: Apache-2.0
#pragma once
// 64-bit checksums of every artefact: XXH3 with seed 0 (the xxhash library; 20 GB/s and more per core), written as 16
// hexadecimal digits. Guards against truncation and bit rot, not against malice.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace lsd {

std::uint64_t checksum64(std::span<const std::byte> bytes);
std::uint64_t checksum64(std::string_view text);
std::string checksum_hex(std::uint64_t checksum);  // "0123456789abcdef"
std::uint64_t checksum_of_file(const std::filesystem::path& path);

// The same value over pieces.
class ChecksumStream {
 public:
  ChecksumStream();
  ~ChecksumStream();
  void add(std::span<const std::byte> bytes);
  std::uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lsd
