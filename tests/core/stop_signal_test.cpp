// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/stop_signal.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace lsd {
namespace {

TEST(StopSignal, EachSignalSetsTheFlag) {
  for (const int number : {SIGTERM, SIGINT, SIGUSR1}) {
    StopSignal stop;
    stop.install();
    EXPECT_FALSE(stop.requested());
    ::raise(number);
    EXPECT_TRUE(stop.requested()) << number;
  }
}

// Signals sent by a child: what is left of the child tells what the signals did.
int status_after(void (*body)(StopSignal&)) {
  const pid_t child = ::fork();
  if (child == 0) {
    StopSignal stop;
    stop.install();
    body(stop);
    ::_exit(7);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status;
}

TEST(StopSignal, ASecondInterruptEndsTheProcess) {
  const int status = status_after([](StopSignal&) {
    ::raise(SIGINT);
    ::raise(SIGINT);
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGINT);
}

TEST(StopSignal, AnInterruptAfterATerminationIsTheFirst) {
  const int status = status_after([](StopSignal&) {
    ::raise(SIGTERM);
    ::raise(SIGTERM);
    ::raise(SIGINT);
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST(StopSignal, SignalsKillAgainWhenTheObjectIsGone) {
  const int status = status_after([](StopSignal& stop) {
    stop.~StopSignal();
    ::raise(SIGUSR1);
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGUSR1);
}

}  // namespace
}  // namespace lsd
