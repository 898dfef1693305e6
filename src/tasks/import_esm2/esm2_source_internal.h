// SPDX-License-Identifier: Apache-2.0
#pragma once
// The folder of a Hugging Face model as files: config.json and the arrays of one safetensors file or of the shards that
// an index lists. Knows nothing of ESM-2 but how to tell its user where to get one.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lsd/io/safetensors.h"

namespace lsd::tasks {

struct SourceFile {
  std::string name;
  std::uint64_t bytes = 0, checksum = 0;
};

struct SourceArray {
  const io::NamedArray* array = nullptr;
  const std::filesystem::path* file = nullptr;
};

class Esm2Source {
 public:
  // Throws UserError where there is no such folder or it holds other kinds of files, DataError for damaged ones.
  explicit Esm2Source(std::filesystem::path folder);

  const std::filesystem::path& folder() const { return folder_; }
  const std::map<std::string, SourceArray>& arrays() const { return arrays_; }  // of all files, by name
  const io::NamedArray* find(const std::string& name) const;                    // nullptr when there is none
  // config.json and every file of arrays, by name; reads all of them.
  std::vector<SourceFile> checksums() const;

 private:
  void open_shards(const std::filesystem::path& index);
  void take_arrays();

  std::filesystem::path folder_;
  std::vector<io::SafetensorsFile> files_;
  std::map<std::string, SourceArray> arrays_;
};

}  // namespace lsd::tasks
