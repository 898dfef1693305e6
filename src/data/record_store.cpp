// SPDX-License-Identifier: Apache-2.0
#include "lsd/data/record_store.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>

namespace lsd::data {
namespace {

struct Head {
  std::uint64_t number;
  std::uint32_t length;
  std::uint32_t id_bytes;
};
static_assert(sizeof(Head) == 16);

constexpr std::size_t kHugePage = std::size_t{2} << 20U;
constexpr std::size_t kBlockBytes = 16 * kHugePage;

constexpr std::size_t round_up(std::size_t bytes, std::size_t to) {
  return (bytes + to - 1) / to * to;
}

}  // namespace

void RecordStore::Free::operator()(std::byte* block) const {
  std::free(block);
}

std::byte* RecordStore::reserve(std::size_t bytes) {
  if (bytes > left_) {
    const auto size = std::max(kBlockBytes, round_up(bytes, kHugePage));
    auto* block = static_cast<std::byte*>(std::aligned_alloc(kHugePage, size));
    if (block == nullptr) throw std::bad_alloc();
    // Records are gathered in random order later: huge pages spare that loop its TLB misses. Only a hint.
    ::madvise(block, size, MADV_HUGEPAGE);
    blocks_.emplace_back(block);
    at_ = block;
    left_ = size;
    bytes_ += size;
  }
  auto* place = at_;
  at_ += bytes;
  left_ -= bytes;
  return place;
}

RecordStore::Handle RecordStore::add(std::uint64_t number, std::string_view id, std::span<const std::uint8_t> tokens) {
  const Head head{number, static_cast<std::uint32_t>(tokens.size()), static_cast<std::uint32_t>(id.size())};
  auto* record = reserve(round_up(sizeof(head) + tokens.size() + id.size(), alignof(Head)));
  std::memcpy(record, &head, sizeof(head));
  std::memcpy(record + sizeof(head), id.data(), id.size());
  std::memcpy(record + sizeof(head) + id.size(), tokens.data(), tokens.size());
  return record;
}

StoredRecord RecordStore::at(const std::byte* record) {
  Head head;
  std::memcpy(&head, record, sizeof(head));
  const auto* id = reinterpret_cast<const char*>(record + sizeof(head));
  const auto* tokens = reinterpret_cast<const std::uint8_t*>(record + sizeof(head) + head.id_bytes);
  return {.number = head.number, .id = {id, head.id_bytes}, .tokens = {tokens, head.length}};
}

void RecordStore::set_number(Handle record, std::uint64_t number) {
  std::memcpy(record + offsetof(Head, number), &number, sizeof(number));
}

void RecordStore::prefetch(const std::byte* record) {
  for (int line = 0; line < 4; ++line) __builtin_prefetch(record + 64 * line);
}

}  // namespace lsd::data
