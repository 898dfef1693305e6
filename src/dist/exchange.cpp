// SPDX-License-Identifier: Apache-2.0
#include "exchange_internal.h"
#include "lsd/core/error.h"

namespace lsd::dist {
namespace {

std::vector<std::vector<std::byte>> exchange_of_varying_sizes(HostCommunicator& ranks,
                                                              const std::vector<ConstBytes>& to) {
  const auto size = static_cast<std::size_t>(ranks.size());
  std::vector<std::int64_t> sizes_to(size), sizes_from(size);
  std::vector<ConstBytes> size_to(size);
  std::vector<Bytes> size_from(size);
  for (std::size_t r = 0; r < size; ++r) {
    sizes_to[r] = static_cast<std::int64_t>(to[r].size());
    size_to[r] = std::as_bytes(std::span(&sizes_to[r], 1));
    size_from[r] = std::as_writable_bytes(std::span(&sizes_from[r], 1));
  }
  ranks.exchange(size_to, size_from);

  std::vector<std::vector<std::byte>> received(size);
  std::vector<Bytes> from(size);
  for (std::size_t r = 0; r < size; ++r) {
    received[r].resize(static_cast<std::size_t>(sizes_from[r]));
    from[r] = received[r];
  }
  ranks.exchange(to, from);
  return received;
}

}  // namespace

std::vector<std::vector<std::byte>> all_to_all_by_exchange(HostCommunicator& ranks,
                                                           const std::vector<std::vector<std::byte>>& to_rank) {
  check(to_rank.size() == static_cast<std::size_t>(ranks.size()), "all_to_all takes one message per rank");
  return exchange_of_varying_sizes(ranks, std::vector<ConstBytes>(to_rank.begin(), to_rank.end()));
}

std::vector<std::vector<std::byte>> all_gather_by_exchange(HostCommunicator& ranks, ConstBytes bytes) {
  return exchange_of_varying_sizes(ranks, std::vector<ConstBytes>(static_cast<std::size_t>(ranks.size()), bytes));
}

}  // namespace lsd::dist
