// SPDX-License-Identifier: Apache-2.0
#pragma once
// Records in memory: number, id and tokens one behind the other in large blocks, so that a record costs 16 bytes more
// than its content, is one run of memory when it is gathered in another order, and nothing is ever moved or copied to
// grow.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace lsd::data {

// A view of one stored record.
struct StoredRecord {
  std::uint64_t number = 0;  // as given to `add`
  std::string_view id;
  std::span<const std::uint8_t> tokens;
};

class RecordStore {
 public:
  using Handle = std::byte*;

  Handle add(std::uint64_t number, std::string_view id, std::span<const std::uint8_t> tokens);
  static StoredRecord at(const std::byte* record);
  static void set_number(Handle record, std::uint64_t number);
  // Asks for the record's memory ahead of its use.
  static void prefetch(const std::byte* record);
  std::uint64_t bytes() const { return bytes_; }  // held from the system

 private:
  struct Free {
    void operator()(std::byte* block) const;
  };
  std::byte* reserve(std::size_t bytes);

  std::vector<std::unique_ptr<std::byte[], Free>> blocks_;
  std::byte* at_ = nullptr;
  std::size_t left_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace lsd::data
