// SPDX-License-Identifier: Apache-2.0
#pragma once
// Files in the safetensors format: 8 bytes header length, a JSON header (name -> dtype, shape, data_offsets), raw data.
// The data start at a multiple of 64 bytes and larger element types come first, so every array is aligned when mapped.

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lsd/io/named_array.h"

namespace lsd::io {

struct WrittenFile {
  std::string name;  // within its folder
  std::uint64_t bytes = 0;
  std::uint64_t checksum = 0;  // checksum64 of the whole file
};

// Overwrites `path`; not atomic and not synced: that is for the caller's folder. Throws SystemError on a full disk.
WrittenFile write_safetensors(const std::filesystem::path& path, const std::vector<NamedArray>& arrays,
                              const std::map<std::string, std::string>& metadata = {});

// Maps a file; arrays are views into it and live as long as this object or a copy of it.
class SafetensorsFile {
 public:
  // Throws DataError naming the file and what is wrong with it: too short, broken header, offsets that do not fit.
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const std::vector<NamedArray>& arrays() const { return arrays_; }  // in file order
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const NamedArray* find(std::string_view name) const;  // nullptr when there is none
  // Throws DataError unless it is there with this type and shape.
  const NamedArray& require(std::string_view name, ArrayType type, const std::vector<std::int64_t>& shape) const;
  std::uint64_t bytes() const;
  std::uint64_t checksum() const;  // of the whole file; reads all of it

 private:
  struct Mapping;
  std::filesystem::path path_;
  std::shared_ptr<const Mapping> mapping_;
  std::vector<NamedArray> arrays_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace lsd::io
