// SPDX-License-Identifier: Apache-2.0
#pragma once
// A contiguous table of known size that is written front to back in blocks, each with its checksum.

#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "hdf5_handle_internal.h"
#include "lsd/core/checksum.h"
#include "lsd/core/error.h"
#include "lsd/io/shard_format.h"

namespace lsd::io {

template <class T>
class TableWriter {
 public:
  TableWriter(const Hdf5Handle& file, std::string name, std::uint64_t size)
      : name_(std::move(name)),
        size_(size),
        table_(create_table(file, name_, sizeof(T) == 1 ? H5T_STD_U8LE : H5T_STD_U64LE, size)),
        block_(std::make_unique_for_overwrite<T[]>(kBlock)) {}

  void append(const T& value) {
    block_[used_++] = value;
    if (used_ == kBlock) flush();
  }

  void append(std::span<const T> values) {
    while (!values.empty()) {
      const auto count = std::min(values.size(), kBlock - used_);
      std::memcpy(block_.get() + used_, values.data(), count * sizeof(T));
      used_ += count;
      values = values.subspan(count);
      if (used_ == kBlock) flush();
    }
  }

  // The checksums of all blocks.
  const std::vector<std::uint64_t>& finish() {
    if (used_ > 0) flush();
    check(written_ == size_, "the table '" + name_ + "' got as many values as it was made for");
    return sums_;
  }
  const std::string& name() const { return name_; }

 private:
  static constexpr std::size_t kBlock = kShardBlockBytes / sizeof(T);

  void flush() {
    check(written_ + used_ <= size_, "the table '" + name_ + "' gets no more values than it was made for");
    const std::span<const T> values(block_.get(), used_);
    sums_.push_back(checksum64(std::as_bytes(values)));
    write_slab(table_, sizeof(T) == 1 ? H5T_NATIVE_UINT8 : H5T_NATIVE_UINT64, written_, used_, values.data());
    written_ += used_;
    used_ = 0;
  }

  std::string name_;
  std::uint64_t size_;
  Hdf5Handle table_;
  std::unique_ptr<T[]> block_;
  std::size_t used_ = 0;
  std::uint64_t written_ = 0;
  std::vector<std::uint64_t> sums_;
};

}  // namespace lsd::io
