// SPDX-License-Identifier: Apache-2.0
#include "lsd/apps/run_app.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lsd/core/build_info.h"
#include "support/run_program.h"

using ::testing::HasSubstr;
using ::testing::Not;

namespace lsd::testing {
namespace {

const std::string kProgram = LSD_APP_UNDER_TEST;

ProgramResult run_alone(const std::string& arguments) {
  return run_program(kProgram + " --backend=reference " + arguments);
}

ProgramResult run_ranks(int ranks, const std::string& arguments) {
  return run_program("env " LSD_MPI_ENVIRONMENT " " LSD_MPIRUN " -n " + std::to_string(ranks) + " " + kProgram +
                     " --backend=reference " + arguments);
}

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(RunApp, ExitCodesTellTheOutcome) {
  EXPECT_EQ(run_alone("--end=done").exit_code, 0);
  EXPECT_EQ(run_alone("--end=stopped").exit_code, 75);
  EXPECT_EQ(run_alone("--end=user_error").exit_code, 1);
  EXPECT_EQ(run_alone("--end=exception").exit_code, 1);
}

TEST(RunApp, ErrorsAreToldOnceAndOurOwnNameTheirPlace) {
  const auto user = run_alone("--end=user_error");
  EXPECT_EQ(count(user.err, "the wrong thing was asked for"), 1U);
  EXPECT_THAT(user.err, Not(HasSubstr(".cpp")));
  const auto internal = run_alone("--end=internal");
  EXPECT_EQ(internal.exit_code, 1);
  EXPECT_THAT(internal.err, HasSubstr("ending_app.cpp"));
}

TEST(RunApp, ASignalStopsTheRunAsResumable) {
  const auto result = run_program(kProgram +
                                  " --backend=reference --end=wait_for_signal & pid=$!; sleep 0.5; "
                                  "kill -USR1 $pid; wait $pid");
  EXPECT_EQ(result.exit_code, 75) << result.err;
}

TEST(RunApp, QuestionsAreAnsweredOnStdout) {
  const auto help = run_alone("--help");
  EXPECT_EQ(help.exit_code, 0);
  for (const auto* word : {"Usage:", "Example:", "--failing_rank INTEGER", "--config FILE", "--backend NAME", "75"})
    EXPECT_THAT(help.out, HasSubstr(word));
  const auto version_answer = run_alone("--version");
  EXPECT_EQ(version_answer.exit_code, 0);
  for (const auto word : {version(), git_revision(), libraries()})
    EXPECT_THAT(version_answer.out, HasSubstr(std::string(word)));
  EXPECT_EQ(help.err + version_answer.err, "");
}

TEST(RunApp, PrintConfigRoundTrips) {
  const TemporaryFolder folder;
  const auto first = run_alone("--print-config --unused=0.25 --failing-rank=-1");
  EXPECT_EQ(first.exit_code, 0);
  EXPECT_THAT(first.out, HasSubstr("unused = 0.25\n"));
  write_file_atomically(folder / "a.cfg", first.out);
  EXPECT_EQ(run_alone("--print-config --config " + (folder / "a.cfg").string()).out, first.out);
}

TEST(RunApp, WrongOptionsFailWithOneMessage) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "a.cfg", "end = done\nunusd = 1\n");
  const std::string config = " --config " + (folder / "a.cfg").string();
  const auto alone = run_alone(config);
  EXPECT_EQ(alone.exit_code, 1);
  EXPECT_THAT(alone.err, HasSubstr("a.cfg:2: unknown key unusd; did you mean unused?"));
  const auto ranks = run_ranks(2, config);
  EXPECT_EQ(ranks.exit_code, 1);
  EXPECT_EQ(count(ranks.err, "unknown key unusd"), 1U) << ranks.err;
  EXPECT_EQ(run_alone("--unused=2").exit_code, 1);
  EXPECT_EQ(run_alone("--config /no/such/file.cfg").exit_code, 1);
  EXPECT_EQ(run_alone("--threads=x").exit_code, 1);
  EXPECT_THAT(run_program(kProgram + " --backend=abacus").err, HasSubstr("unknown backend 'abacus'"));
}

TEST(RunApp, RanksSeeEachOtherAndShareOneOutcome) {
  const auto done = run_ranks(2, "--failing-rank=-1");
  EXPECT_EQ(done.exit_code, 0) << done.err;
  EXPECT_THAT(done.out, HasSubstr("rank 0 of 2"));
  EXPECT_THAT(done.out, HasSubstr("rank 1 of 2"));
  EXPECT_EQ(run_ranks(2, "--failing-rank=-1 --end=stopped").exit_code, 75);
}

// The other rank waits in a collective for ever; half a minute would be the communicator's own patience many times
// over.
TEST(RunApp, OneFailingRankEndsAllQuickly) {
  for (const int rank : {0, 1}) {
    const TemporaryFolder folder;
    const auto result = run_ranks(
        2, "--end=user_error --failing-rank=" + std::to_string(rank) + " --run-folder=" + (folder / "run").string());
    EXPECT_NE(result.exit_code, 0);
    EXPECT_LT(result.seconds, 30);
    EXPECT_EQ(count(result.err, "the wrong thing was asked for"), 1U) << result.err;
    EXPECT_THAT(result.err, HasSubstr("rank " + std::to_string(rank) + " of 2"));
    EXPECT_THAT(read_text_file(folder / "run/FAILED"), HasSubstr("the wrong thing was asked for"));
  }
}

// The run is sound, so a chain of jobs shall go on with it: STOPPED and not FAILED, though this job's exit code is not
// that of a run that was asked to stop.
TEST(RunApp, ARankThatLostAnotherLeavesTheRunToBeGoneOnWith) {
  const TemporaryFolder folder;
  const auto result =
      run_ranks(2, "--end=silence --failing-rank=1 --collective-timeout=2 --run-folder=" + (folder / "run").string());
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_LT(result.seconds, 30);
  EXPECT_THAT(result.err, HasSubstr("rank 0 of 2 gave up in barrier"));
  EXPECT_THAT(read_text_file(folder / "run/STOPPED"), HasSubstr("rank 0 of 2 gave up in barrier"));
  EXPECT_FALSE(std::filesystem::exists(folder / "run/FAILED"));
}

TEST(RunApp, AnErrorOfAllRanksIsToldOnce) {
  const auto result = run_ranks(2, "--end=user_error --failing-rank=-1");
  EXPECT_NE(result.exit_code, 0);
  EXPECT_EQ(count(result.err, "the wrong thing was asked for"), 1U) << result.err;
}

TEST(RunApp, AKilledRankEndsAll) {
  const auto result = run_ranks(2, "--end=kill --failing-rank=1");
  EXPECT_NE(result.exit_code, 0);
  EXPECT_LT(result.seconds, 30);
}

TEST(RunApp, AnUnknownFaultIsRefusedAndAKnownOneToldOf) {
  const auto unknown = run_program("env LSD_FAULT=no.such=kill " + kProgram + " --backend=reference");
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_THAT(unknown.err, HasSubstr("'no.such=kill'"));
  const auto known = run_program("env LSD_FAULT=shard.begun=kill " + kProgram + " --backend=reference");
  EXPECT_EQ(known.exit_code, 0) << known.err;
  EXPECT_THAT(known.err, HasSubstr("breaks on purpose"));
}

// Two processes that a launcher believes to be ranks of one job, but whose MPI was never connected.
TEST(RunApp, RefusesRanksThatDoNotSeeEachOther) {
  const auto result = run_program("env " LSD_MPI_ENVIRONMENT " PMI_SIZE=2 " + kProgram + " --backend=reference");
  EXPECT_EQ(result.exit_code, 1) << result.err;
  EXPECT_THAT(result.err, HasSubstr("launcher"));
}

}  // namespace
}  // namespace lsd::testing
