// SPDX-License-Identifier: Apache-2.0
// Under mpirun: the ranks' shards equal those of one rank, and an error ends on every rank.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <memory>

#include "lsd/core/error.h"
#include "shard_support.h"
#include "support/temporary_folder.h"

namespace lsd {
namespace {

dist::HostCommunicator* world = nullptr;

std::string fasta_text(int records) {
  std::string text;
  for (int i = 0; i < records; ++i)
    text += fmt::format(">P{} x\n{}\n", i,
                        std::string(static_cast<std::size_t>(i % 97 + 1), "LAGVSERTIDPKQNFYMHWC"[i % 20]));
  return text;
}

// One folder for all ranks, made by rank 0.
struct SharedFolder {
  SharedFolder() {
    if (world->is_root()) own = std::make_unique<testing::TemporaryFolder>();
    path = world->broadcast_text(own ? own->path().string() : "");
  }
  ~SharedFolder() { world->barrier(); }
  std::unique_ptr<testing::TemporaryFolder> own;
  std::filesystem::path path;
};

TEST(ShardRanks, WriteWhatOneRankWrites) {
  const SharedFolder folder;
  if (world->is_root()) testing::write_file(folder.path / "a.fasta", fasta_text(500));
  world->barrier();
  const auto single = dist::make_single_communicator();
  if (world->is_root())
    testing::run_shard(testing::small_config({folder.path / "a.fasta"}, folder.path / "one"), *single);
  EXPECT_EQ(testing::run_shard(testing::small_config({folder.path / "a.fasta"}, folder.path / "all"), *world),
            tasks::Outcome::done);
  if (world->is_root()) {
    EXPECT_TRUE(testing::result_files(folder.path / "one") == testing::result_files(folder.path / "all"));
  }
}

TEST(ShardRanks, AnErrorOnOneRankReachesAll) {
  const SharedFolder folder;
  if (world->is_root()) testing::write_file(folder.path / "bad.fasta", fasta_text(300) + ">last\nMK1\n");
  world->barrier();
  EXPECT_THROW(testing::run_shard(testing::small_config({folder.path / "bad.fasta"}, folder.path / "out"), *world),
               DataError);
}

}  // namespace
}  // namespace lsd

int main(int argc, char** argv) {
  lsd::dist::MpiSession session(argc, argv);
  ::testing::InitGoogleTest(&argc, argv);
  const auto ranks = lsd::dist::make_mpi_communicator();
  lsd::world = ranks.get();
  return RUN_ALL_TESTS();
}
