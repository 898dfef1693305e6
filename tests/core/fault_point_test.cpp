// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/fault_point.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>
#include <vector>

#include "lsd/core/error.h"
#include "support/expect_error.h"

namespace lsd::testing {
namespace {

class FaultPoint : public ::testing::Test {
 protected:
  void TearDown() override { arm_faults("", 0); }
};

// What is left of a child that reaches the point once.
int status_at_point(const char* specification) {
  const pid_t child = ::fork();
  if (child == 0) {
    arm_faults(specification, 0);
    fault_point("shard.begun");
    ::_exit(7);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

TEST_F(FaultPoint, DoesNothingUnlessArmed) {
  fault_point("shard.begun");
  EXPECT_FALSE(poison_point("train.gradients"));
  arm_faults("shard.committed=throw", 0);
  fault_point("shard.begun");
}

TEST_F(FaultPoint, ThrowsAtTheNthTimeOnly) {
  arm_faults("shard.begun#3=throw", 0);
  fault_point("shard.begun");
  fault_point("shard.begun");
  expect_error<SystemError>([] { fault_point("shard.begun"); }, {"injected fault at shard.begun"});
  fault_point("shard.begun");
}

TEST_F(FaultPoint, MeansOneRankWhenTold) {
  arm_faults("shard.begun@1=throw", 0);
  fault_point("shard.begun");
  arm_faults("shard.begun@1=throw", 1);
  EXPECT_THROW(fault_point("shard.begun"), SystemError);
  arm_faults("shard.begun=throw", 5);
  EXPECT_THROW(fault_point("shard.begun"), SystemError);
}

TEST_F(FaultPoint, SeveralFaultsAreIndependent) {
  arm_faults("shard.begun=poison,shard.begun#2@0=throw,file.synced@3=kill,dump.begun=enospc", 0);
  EXPECT_TRUE(poison_point("shard.begun"));
  fault_point("file.synced");
  expect_error<SystemError>([] { fault_point("dump.begun"); }, {"cannot write", "No space left on device"});
  EXPECT_THROW(fault_point("shard.begun"), SystemError);
}

TEST_F(FaultPoint, KillAndExitEndTheProcess) {
  const int killed = status_at_point("shard.begun=kill");
  ASSERT_TRUE(WIFSIGNALED(killed));
  EXPECT_EQ(WTERMSIG(killed), SIGKILL);
  const int ended = status_at_point("shard.begun=exit");
  ASSERT_TRUE(WIFEXITED(ended));
  EXPECT_EQ(WEXITSTATUS(ended), 1);
  EXPECT_EQ(WEXITSTATUS(status_at_point("shard.committed=kill")), 7);
}

// The child tells when it is at the point; afterwards only a signal ends it.
TEST_F(FaultPoint, AStalledThreadLivesUntilItIsKilled) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    arm_faults("shard.begun=stall", 0);
    if (::write(ends[1], "x", 1) != 1) ::_exit(8);
    fault_point("shard.begun");
    ::_exit(7);
  }
  char told = 0;
  ASSERT_EQ(::read(ends[0], &told, 1), 1);
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_F(FaultPoint, AStoppedProcessGoesOnWhenTold) {
  const pid_t child = ::fork();
  if (child == 0) {
    arm_faults("shard.begun=stop", 0);
    fault_point("shard.begun");
    ::_exit(7);
  }
  int status = 0;
  ::waitpid(child, &status, WUNTRACED);
  ASSERT_TRUE(WIFSTOPPED(status));
  ::kill(child, SIGCONT);
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST_F(FaultPoint, OneOfManyThreadsMeetsTheFault) {
  arm_faults("train.gradients#500=poison", 0);
  std::atomic<int> met = 0;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&met] {
      for (int j = 0; j < 250; ++j) met += poison_point("train.gradients") ? 1 : 0;
    });
  threads.clear();
  EXPECT_EQ(met, 1);
}

TEST_F(FaultPoint, RefusesWhatItDoesNotKnow) {
  expect_error<UserError>([] { arm_faults("shard.began=kill", 0); }, {"shard.began", "shard.begun"});
  expect_error<UserError>([] { arm_faults("shard.begun=burn", 0); }, {"'shard.begun=burn'", "kill, exit, stall, stop"});
  expect_error<UserError>([] { arm_faults("shard.begun", 0); }, {"no action"});
  for (const auto* entry : {"shard.begun#0=kill", "shard.begun#x=kill", "shard.begun@=kill", "shard.begun@-1=kill"})
    expect_error<UserError>([entry] { arm_faults(entry, 0); }, {entry, "whole number"});
  fault_point("shard.begun");
}

}  // namespace
}  // namespace lsd::testing
