// SPDX-License-Identifier: Apache-2.0
#include "dump/ordered_worker_internal.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace lsd::tasks {
namespace {

TEST(OrderedWorker, RunsPiecesInOrder) {
  std::vector<int> seen;
  OrderedWorker worker;
  for (int i = 0; i < 100; ++i) worker.give([&seen, i] { seen.push_back(i); });
  worker.drain();
  ASSERT_EQ(seen.size(), 100U);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], i);
}

// What a dump's three slots of memory rely on.
TEST(OrderedWorker, IsNeverMoreThanOnePieceBehind) {
  std::atomic<int> done = 0;
  OrderedWorker worker;
  for (int i = 0; i < 100; ++i) {
    worker.give([&done] { ++done; });
    EXPECT_GE(done, i);
  }
}

TEST(OrderedWorker, WhatAPieceThrowsComesOutAndNothingRunsAfterIt) {
  std::atomic<int> later = 0;
  OrderedWorker worker;
  worker.give([] { throw std::runtime_error("the disk is full"); });
  EXPECT_THROW(worker.give([&later] { ++later; }), std::runtime_error);
  EXPECT_THROW(worker.drain(), std::runtime_error);
  EXPECT_EQ(later, 0);
}

TEST(OrderedWorker, EndsWithoutBeingAskedForAnything) {
  const OrderedWorker worker;
}

}  // namespace
}  // namespace lsd::tasks
