// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <zlib.h>

#include <initializer_list>
#include <numeric>

#include "lsd/core/error.h"
#include "shard/shard_internal.h"
#include "shard_support.h"
#include "support/expect_error.h"
#include "support/temporary_folder.h"

namespace lsd {
namespace {

using testing::TemporaryFolder;

// 80 % of 1,000 bytes. A tenth of that is for all alike: 20 for each of four. Of the other 720, 22 of 25 parts are
// needed here: 633.6.
TEST(ShardMemory, ByHand) {
  EXPECT_EQ(tasks::sharding::part_of_memory(1000, 22.0, 25.0, 4), 653U);
  EXPECT_EQ(tasks::sharding::part_of_memory(1000, 25.0, 25.0, 1), 800U);
  EXPECT_EQ(tasks::sharding::part_of_memory(1000, 0.0, 0.0, 4), 200U) << "nobody needs anything: equal parts";
}

std::string random_records(int records) {
  std::string text;
  std::uint32_t state = 1;
  for (int record = 0; record < records; ++record) {
    text += ">P" + std::to_string(record) + "\n";
    for (int i = 0; i < 300; ++i) text += "ACDEFGHIKLMNPQRSTVWY"[(state = state * 1664525U + 1013904223U) >> 27U & 15U];
    text += '\n';
  }
  return text;
}

void write_gzip(const std::filesystem::path& path, const std::string& text) {
  gzFile file = gzopen(path.c_str(), "wb1");
  ASSERT_EQ(gzwrite(file, text.data(), static_cast<unsigned>(text.size())), static_cast<int>(text.size()));
  gzclose(file);
}

// What each of several ranks of this machine may use, as shares of what all of them may.
std::vector<double> shares_of(const std::vector<std::string>& files, int size) {
  auto config = testing::small_config(files, "not_written");
  config.memory.limit = 0;
  config.shards.records = 1;
  auto communicators = dist::make_thread_communicators(size);
  std::vector<double> limits(communicators.size());
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < communicators.size(); ++rank) {
    threads.emplace_back([&, rank] {
      StopSignal stop;
      const Log log({.quiet = true});
      tasks::Runtime runtime{.ranks = *communicators[rank], .stop = stop, .log = log};
      limits[rank] = static_cast<double>(tasks::sharding::prepare(config, runtime).memory_limit);
    });
  }
  for (auto& thread : threads) thread.join();
  const double sum = std::accumulate(limits.begin(), limits.end(), 0.0);
  for (double& limit : limits) limit /= sum;
  return limits;
}

TEST(ShardMemory, PlainTextIsSharedByAllRanks) {
  const TemporaryFolder folder;
  testing::write_file(folder / "a.fasta", random_records(1000));
  for (const double share : shares_of({folder / "a.fasta"}, 4)) EXPECT_NEAR(share, 0.25, 0.01);
}

// The rank that reads a compressed file has to hold all of it; the others need next to nothing.
TEST(ShardMemory, TheRankThatReadsACompressedFileHasItsMemory) {
  const TemporaryFolder folder;
  write_gzip(folder / "a.fasta.gz", random_records(1000));
  const auto shares = shares_of({folder / "a.fasta.gz"}, 4);
  EXPECT_GT(shares[0], 0.9);
  for (const double share : shares) EXPECT_GT(share, 0.02);
}

TEST(ShardMemory, TheRankThatReadsAStreamMayNeedAnything) {
  const TemporaryFolder folder;
  testing::write_file(folder / "a.fasta", random_records(1000));
  EXPECT_GT(shares_of({folder / "a.fasta", "-"}, 4)[0], 0.9);
}

// More ranks would not help where one of them holds a whole file.
TEST(ShardMemory, WhatToDoDependsOnTheFile) {
  const TemporaryFolder folder;
  const auto text = random_records(3000);
  testing::write_file(folder / "a.fasta", text);
  write_gzip(folder / "a.fasta.gz", text);
  const auto refuse = [&](const std::string& file, std::initializer_list<std::string> words) {
    auto config = testing::small_config({folder / file}, folder / "out");
    config.memory.limit = 0.1 / 1024;
    testing::expect_error<UserError>([&] { testing::run_shard_on_threads(config, 2); }, words);
  };
  refuse("a.fasta", {"use more machines", "--memory.limit"});
  refuse("a.fasta.gz", {"one rank holds all of a compressed file or stream", "plain text", "--memory.limit"});
}

}  // namespace
}  // namespace lsd
