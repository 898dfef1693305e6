// SPDX-License-Identifier: Apache-2.0
#pragma once
// Owners for HDF5's ids and the checks that turn its error codes into exceptions. The library's own printing is
// switched off and its error stack goes into the exception instead.

#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace lsd::io {

// What to do about a file whose inside is not as we write it.
inline constexpr std::string_view kRestoreAdvice = "restore the file from a copy, or make it again";

// HDF5 need not be thread-safe: whoever calls it holds this lock. Recursive, so that helpers may take it again.
std::unique_lock<std::recursive_mutex> lock_hdf5();

// Passes a non-negative result through; otherwise throws SystemError with `action` and HDF5's innermost messages.
hid_t check_hdf5(hid_t result, std::string_view action, std::source_location where = std::source_location::current());

// Owns one id. The close function is that of the id's kind (H5Fclose, H5Dclose, ...).
class Hdf5Handle {
 public:
  using Close = herr_t (*)(hid_t);
  Hdf5Handle() = default;
  Hdf5Handle(hid_t id, Close closer, std::string_view action,
             std::source_location where = std::source_location::current())
      : id_(check_hdf5(id, action, where)), close_(closer) {}
  Hdf5Handle(Hdf5Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Hdf5Handle();

  hid_t get() const { return id_; }
  // Closes now and reports failure: after writing, the last flush may be the one that fails.
  void close(std::string_view action);

 private:
  hid_t id_ = -1;
  Close close_ = nullptr;
};

// A new file without time stamps and with metadata checksums; tables start at multiples of 64 bytes, so they can be
// mapped.
Hdf5Handle create_hdf5_file(const std::filesystem::path& path);
// Throws DataError when it is missing or no HDF5 file (or its head is damaged).
Hdf5Handle open_hdf5_file(const std::filesystem::path& path);

Hdf5Handle create_group(const Hdf5Handle& parent, const std::string& name);
// A contiguous one-dimensional table without time stamps. `type`: H5T_STD_U8LE, H5T_STD_U64LE, ...
Hdf5Handle create_table(const Hdf5Handle& parent, const std::string& name, hid_t type, std::uint64_t size);
void write_table(const Hdf5Handle& table, hid_t memory_type, const void* data);
// Elements [first, first + count) of a one-dimensional table.
void write_slab(const Hdf5Handle& table, hid_t memory_type, std::uint64_t first, std::uint64_t count, const void* data);

void write_attribute(const Hdf5Handle& object, const std::string& name, std::string_view text);
void write_attribute(const Hdf5Handle& object, const std::string& name, std::int64_t value);
// Both throw DataError when the attribute is missing or of another kind.
std::string read_text_attribute(const Hdf5Handle& object, const std::string& name);
std::int64_t read_integer_attribute(const Hdf5Handle& object, const std::string& name);

// Where a contiguous one-dimensional table lies in its file. offset_bytes is 0 for an empty one.
struct TablePlace {
  std::uint64_t offset_bytes = 0;
  std::uint64_t size = 0;  // elements
  std::uint64_t element_bytes = 0;
};
// Throws DataError when the table is missing, compressed or chunked, not one-dimensional or not of `type`.
TablePlace find_table(const Hdf5Handle& parent, const std::string& name, hid_t type);

}  // namespace lsd::io
