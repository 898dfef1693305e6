// SPDX-License-Identifier: Apache-2.0
#pragma once
// A whole file mapped for reading.

#include <cstddef>
#include <filesystem>
#include <span>

namespace lsd::io {

class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::span<const std::byte> bytes() const { return bytes_; }
  void expect_sequential_reading() const;

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace lsd::io
