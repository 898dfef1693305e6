// SPDX-License-Identifier: Apache-2.0
#include "ordered_sum_internal.h"

#include <algorithm>
#include <array>

#include "../exchange_internal.h"
#include "lsd/core/error.h"

namespace lsd::dist {
namespace {

// Elements reduced at a time (16 MiB): bounds the memory for what is received, and pipelines nothing away.
constexpr std::size_t kPieceElements = std::size_t{4} << 20U;

}  // namespace

std::size_t OrderedSum::begin(std::size_t n, int rank) const {
  const auto ranks = static_cast<std::size_t>(ranks_.size()), r = static_cast<std::size_t>(rank);
  return r * (n / ranks) + std::min(r, n % ranks);
}

void OrderedSum::sum_in_rank_order(std::span<const float> own, std::span<float> sum) {
  const auto self = static_cast<std::size_t>(ranks_.rank());
  const auto part = [&](std::size_t r) {
    return r == self ? own : std::span<const float>(received_).subspan(r * own.size(), own.size());
  };
  // Through a small buffer that stays in the cache: `sum` may be one of the parts.
  std::array<float, 2048> total;
  for (std::size_t at = 0; at < own.size(); at += total.size()) {
    const auto count = std::min(total.size(), own.size() - at);
    std::copy_n(part(0).begin() + static_cast<std::ptrdiff_t>(at), count, total.begin());
    for (std::size_t r = 1; r < static_cast<std::size_t>(ranks_.size()); ++r) {
      const float* values = part(r).data() + at;
      for (std::size_t i = 0; i < count; ++i) total[i] += values[i];
    }
    std::copy_n(total.begin(), count, sum.begin() + static_cast<std::ptrdiff_t>(at));
  }
}

void OrderedSum::all_reduce(std::span<float> values) {
  for (std::size_t at = 0; at < values.size(); at += kPieceElements)
    all_reduce_piece(values.subspan(at, std::min(kPieceElements, values.size() - at)));
}

void OrderedSum::all_reduce_piece(std::span<float> values) {
  const int self = ranks_.rank(), size = ranks_.size();
  const auto part = [&](int rank) {
    const auto first = begin(values.size(), rank);
    return values.subspan(first, begin(values.size(), rank + 1) - first);
  };
  const auto own = part(self);
  received_.resize(own.size() * static_cast<std::size_t>(size));
  std::vector<ConstBytes> to;
  std::vector<Bytes> from;
  for (int r = 0; r < size; ++r) {
    to.push_back(std::as_bytes(part(r)));
    const auto slot = std::span(received_).subspan(static_cast<std::size_t>(r) * own.size(), own.size());
    from.push_back(r == self ? std::as_writable_bytes(own) : std::as_writable_bytes(slot));
  }
  ranks_.exchange(to, from);
  sum_in_rank_order(own, own);

  for (int r = 0; r < size; ++r) {
    to[static_cast<std::size_t>(r)] = std::as_bytes(own);
    from[static_cast<std::size_t>(r)] = std::as_writable_bytes(part(r));
  }
  ranks_.exchange(to, from);
}

void OrderedSum::reduce_scatter(std::span<const float> values, std::span<float> slice) {
  const int self = ranks_.rank(), size = ranks_.size();
  check(values.size() == slice.size() * static_cast<std::size_t>(size),
        "reduce_scatter gives each rank an equal slice");
  received_.resize(values.size());
  std::vector<ConstBytes> to;
  std::vector<Bytes> from;
  for (int r = 0; r < size; ++r) {
    const auto first = static_cast<std::size_t>(r) * slice.size();
    to.push_back(std::as_bytes(values.subspan(first, slice.size())));
    from.push_back(std::as_writable_bytes(std::span(received_).subspan(first, slice.size())));
  }
  ranks_.exchange(to, from);
  sum_in_rank_order(
      std::span<const float>(received_).subspan(static_cast<std::size_t>(self) * slice.size(), slice.size()), slice);
}

void OrderedSum::all_gather(std::span<const float> slice, std::span<float> values) {
  const int size = ranks_.size();
  check(values.size() == slice.size() * static_cast<std::size_t>(size),
        "all_gather takes an equal slice from each rank");
  const std::vector<ConstBytes> to(static_cast<std::size_t>(size), std::as_bytes(slice));
  std::vector<Bytes> from;
  for (int r = 0; r < size; ++r)
    from.push_back(std::as_writable_bytes(values.subspan(static_cast<std::size_t>(r) * slice.size(), slice.size())));
  ranks_.exchange(to, from);
}

}  // namespace lsd::dist
