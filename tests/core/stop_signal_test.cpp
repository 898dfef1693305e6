// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/stop_signal.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

namespace lsd {
namespace {

// To the process, as launchers and people send them.
void send(int number) {
  ::kill(::getpid(), number);
}

bool is_requested_soon(const StopSignal& stop) {
  for (int try_number = 0; try_number < 10000 && !stop.requested(); ++try_number)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return stop.requested();
}

bool blocks(int number) {
  sigset_t mask;
  ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return sigismember(&mask, number) == 1;
}

TEST(StopSignal, EachSignalSetsTheFlag) {
  for (const int number : {SIGTERM, SIGINT, SIGUSR1}) {
    StopSignal stop;
    stop.install();
    EXPECT_FALSE(stop.requested());
    send(number);
    EXPECT_TRUE(is_requested_soon(stop)) << number;
  }
}

TEST(StopSignal, ComesToNoThreadThatComputes) {
  {
    StopSignal stop;
    stop.install();
    EXPECT_TRUE(blocks(SIGTERM) && blocks(SIGINT) && blocks(SIGUSR1));
    bool below = false;
    std::thread([&] { below = blocks(SIGTERM) && blocks(SIGINT) && blocks(SIGUSR1); }).join();
    EXPECT_TRUE(below);
  }
  EXPECT_FALSE(blocks(SIGTERM) || blocks(SIGINT) || blocks(SIGUSR1));
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
  const int status = status_after([](StopSignal& stop) {
    send(SIGINT);
    if (!is_requested_soon(stop)) return;
    send(SIGINT);
    std::this_thread::sleep_for(std::chrono::seconds(60));
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGINT);
}

TEST(StopSignal, AnInterruptAfterATerminationIsTheFirst) {
  const int status = status_after([](StopSignal& stop) {
    for (const int number : {SIGTERM, SIGTERM, SIGINT}) {
      send(number);
      if (!is_requested_soon(stop)) ::_exit(8);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST(StopSignal, SignalsKillAgainWhenTheObjectIsGone) {
  const int status = status_after([](StopSignal& stop) {
    stop.~StopSignal();
    send(SIGUSR1);  // ahead of a time limit: there is nothing left to stop
    send(SIGTERM);
    std::this_thread::sleep_for(std::chrono::seconds(60));
  });
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGTERM);
}

}  // namespace
}  // namespace lsd
