// SPDX-License-Identifier: Apache-2.0
// A start that was refused, mended as its message says, into the same folder: the programs themselves.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "support/run_program.h"

using ::testing::HasSubstr;

namespace lsd::testing {
namespace {

class RefusedStart : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ofstream fasta(folder_ / "a.fasta");
    for (int i = 0; i < 40; ++i) fasta << ">P" << i << '\n' << std::string(30 + i, "LAGVSERTID"[i % 10]) << '\n';
    fasta.close();
    expect_done("lsd_shard_uniref50", "--input.files=a.fasta --output.directory=shards --split.valid=0.2");
  }

  ProgramResult run(const std::string& program, const std::string& options, const std::string& environment = "") {
    return run_program(
        fmt::format("cd {} && {} {}/{} {}", folder_.path().string(), environment, LSD_BIN, program, options));
  }
  void expect_done(const std::string& program, const std::string& options) {
    const auto result = run(program, options);
    EXPECT_EQ(result.exit_code, 0) << program << ' ' << options << '\n' << result.err;
  }
  void expect_refused(const std::string& program, const std::string& options, const std::string& words,
                      const std::string& environment = "") {
    const auto result = run(program, options, environment);
    EXPECT_EQ(result.exit_code, 1) << program << ' ' << options;
    EXPECT_THAT(result.err, HasSubstr(words));
    EXPECT_TRUE(std::filesystem::exists(folder_ / "out/FAILED"));
  }

  static constexpr const char* kTraining =
      "--data.shards=shards --run.directory=out --model.heads=2 --model.encoder_layers=1 --training.steps=1 "
      "--training.micro_batches=1 --optimizer.warmup_steps=0 --data.max_length=128";

  TemporaryFolder folder_;
};

TEST_F(RefusedStart, ATrainingWhoseOptionsWereMendedTakesItsFolder) {
  const std::string training = kTraining;
  expect_refused("lsd_train_autoencoder", training + " --training.capacity=512 --model.width=32 --run.init_from=gone",
                 "gone holds no checkpoint");
  expect_refused("lsd_train_autoencoder", training + " --training.capacity=512 --run.memory_limit=1MiB", "needs");
  expect_done("lsd_train_autoencoder", training + " --training.capacity=256 --model.width=64");
  const auto other = run("lsd_train_autoencoder", training + " --training.capacity=256 --model.width=32");
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_THAT(other.err, HasSubstr("holds another run"));
}

TEST_F(RefusedStart, ADumpThatDidNotFitMayBecomeASmallerOne) {
  std::string training = kTraining;
  training.replace(training.find("=out"), 4, "=nm");
  expect_done("lsd_train_autoencoder", training + " --training.capacity=256 --model.width=32");
  const std::string dump = "--features.autoencoder=nm --input.shards=shards --output.directory=out";
  expect_refused("lsd_dump_latents", dump, "No space left", "LSD_FAULT=dump.part_rows_written#1=enospc");
  expect_done("lsd_dump_latents", dump + " --output.mode=means");
  expect_done("lsd_verify", "out");
}

}  // namespace
}  // namespace lsd::testing
