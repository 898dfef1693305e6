// SPDX-License-Identifier: Apache-2.0
#pragma once
// What every communicator and every collective must do, as functions that all ranks call: the same for threads and MPI.

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <functional>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "dist/fake_backend.h"
#include "lsd/core/error.h"
#include "lsd/dist/host_communicator.h"
#include "lsd/dist/tensor_collectives.h"

namespace lsd::dist {

inline std::vector<std::byte> bytes_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// Numbers whose float32 sum depends on the order of the terms.
inline float awkward(int rank, std::size_t element) {
  const float small = 1.0F + 0.37F * static_cast<float>((element * 7 + static_cast<std::size_t>(rank) * 13) % 101);
  return rank % 2 == 0 ? small * 1e7F : -small * 0.123F;
}

inline float sum_in_rank_order(int ranks, std::size_t element) {
  float sum = awkward(0, element);
  for (int r = 1; r < ranks; ++r) sum += awkward(r, element);
  return sum;
}

inline void check_communicator(HostCommunicator& ranks) {
  const int size = ranks.size(), self = ranks.rank();
  ranks.barrier();
  for (int root = 0; root < size; ++root)
    EXPECT_EQ(ranks.broadcast_text("text of rank " + std::to_string(self), root),
              "text of rank " + std::to_string(root));
  EXPECT_EQ(ranks.broadcast_text("", 0), "");

  std::vector<double> doubles{1e16, static_cast<double>(self), 0.1 * (self + 1)};
  double third = 0.1;
  for (int r = 1; r < size; ++r) third += 0.1 * (r + 1);
  ranks.all_reduce_sum(std::span(doubles));
  EXPECT_EQ(doubles[0], 1e16 * size);
  EXPECT_EQ(doubles[1], size * (size - 1) / 2.0);
  EXPECT_EQ(doubles[2], third);  // to the bit: rank order

  std::vector<std::int64_t> sums{self + 1, -1}, largest{self, -self};
  ranks.all_reduce_sum(std::span(sums));
  ranks.all_reduce_max(std::span(largest));
  EXPECT_EQ(sums, (std::vector<std::int64_t>{size * (size + 1) / 2, -size}));
  EXPECT_EQ(largest, (std::vector<std::int64_t>{size - 1, 0}));

  const auto all = ranks.all_gather(bytes_of(std::string(static_cast<std::size_t>(self) * 3, 'x')));
  ASSERT_EQ(all.size(), static_cast<std::size_t>(size));
  for (int r = 0; r < size; ++r) EXPECT_EQ(all[static_cast<std::size_t>(r)].size(), static_cast<std::size_t>(r) * 3);

  std::vector<std::vector<std::byte>> letters;
  for (int r = 0; r < size; ++r) letters.push_back(bytes_of(std::to_string(self) + " to " + std::to_string(r)));
  const auto received = ranks.all_to_all(letters);
  for (int r = 0; r < size; ++r)
    EXPECT_EQ(received[static_cast<std::size_t>(r)], bytes_of(std::to_string(r) + " to " + std::to_string(self)));
}

// The loader's communicator and the gradients' are used at the same time, from two threads of each rank.
inline void check_duplicates_are_independent(HostCommunicator& ranks) {
  const auto other = ranks.duplicate();
  std::thread beside([&] {
    for (int i = 0; i < 50; ++i) {
      std::vector<std::int64_t> values{i};
      other->all_reduce_sum(std::span(values));
      EXPECT_EQ(values[0], i * other->size());
    }
  });
  for (int i = 0; i < 50; ++i) EXPECT_EQ(ranks.broadcast_text(std::to_string(i)), std::to_string(i));
  beside.join();
}

inline void check_tensor_collectives(TensorCollectives& collectives, int self, int size, FakeBackend& backend) {
  const auto elements = static_cast<std::size_t>(size) * 1003;
  std::vector<float> bucket(elements), rest(7);
  for (std::size_t i = 0; i < elements; ++i) bucket[i] = awkward(self, i);
  for (std::size_t i = 0; i < rest.size(); ++i) rest[i] = awkward(self, 5000 + i);
  const auto view = [&](std::vector<float>& values) {
    return TensorView(values.data(), DType::float32, {static_cast<std::int64_t>(values.size())}, backend.device());
  };

  const auto first = collectives.all_reduce_sum(view(bucket));
  const auto second = collectives.all_reduce_sum(view(rest));
  collectives.wait(first);
  collectives.wait(second);
  for (std::size_t i = 0; i < elements; ++i) ASSERT_EQ(bucket[i], sum_in_rank_order(size, i)) << i;
  for (std::size_t i = 0; i < rest.size(); ++i) ASSERT_EQ(rest[i], sum_in_rank_order(size, 5000 + i)) << i;

  std::vector<float> values(elements), slice(1003), gathered(elements);
  for (std::size_t i = 0; i < elements; ++i) values[i] = awkward(self, i);
  collectives.wait(collectives.reduce_scatter_sum(view(values), view(slice)));
  for (std::size_t i = 0; i < slice.size(); ++i)
    ASSERT_EQ(slice[i], sum_in_rank_order(size, static_cast<std::size_t>(self) * 1003 + i)) << i;
  collectives.wait(collectives.all_gather(view(slice), view(gathered)));
  EXPECT_EQ(gathered, bucket);

  // In place: the slice is a part of the whole. What is gathered is moved as it is, whatever number its bits are.
  const auto own = [&](std::vector<float>& whole) { return view(whole).slice(self * 1003, 1003); };
  collectives.wait(collectives.reduce_scatter_sum(view(values), own(values)));
  for (std::size_t i = 0; i < 1003; ++i) {
    const auto at = static_cast<std::size_t>(self) * 1003 + i;
    ASSERT_EQ(values[at], sum_in_rank_order(size, at)) << at;
  }
  const auto bits = [](std::size_t at) { return std::uint32_t{0x7F800001U} + static_cast<std::uint32_t>(at); };
  for (std::size_t i = 0; i < 1003; ++i) {
    const auto at = static_cast<std::size_t>(self) * 1003 + i;
    values[at] = std::bit_cast<float>(bits(at));
  }
  collectives.wait(collectives.all_gather(own(values), view(values)));
  for (std::size_t at = 0; at < elements; ++at) ASSERT_EQ(std::bit_cast<std::uint32_t>(values[at]), bits(at)) << at;

  std::vector<float> sent(5, static_cast<float>(self));
  collectives.wait(collectives.broadcast(view(sent), size - 1));
  EXPECT_EQ(sent, std::vector<float>(5, static_cast<float>(size - 1)));
}

}  // namespace lsd::dist
