// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/stop_signal.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <utility>

#include "lsd/core/error.h"

namespace lsd {
namespace {

constexpr int kSignals[] = {SIGTERM, SIGINT, SIGUSR1};
// A handler has no argument of ours, so the one installed object is found here.
std::atomic<StopSignal*> installed{nullptr};
std::atomic<bool> interrupted{false};
static_assert(std::atomic<StopSignal*>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

// Only what POSIX allows in a handler: atomics, signal and raise.
void on_signal(int number) {
  StopSignal* stop = installed.load(std::memory_order_relaxed);
  const bool again = number == SIGINT && interrupted.exchange(true, std::memory_order_relaxed);
  if (stop == nullptr || again) {
    ::signal(number, SIG_DFL);
    ::raise(number);
    return;
  }
  stop->request();
}

sigset_t taken_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : kSignals) sigaddset(&set, number);
  return set;
}

}  // namespace

void StopSignal::install() {
  StopSignal* nobody = nullptr;
  check(installed.compare_exchange_strong(nobody, this), "one StopSignal is installed at a time");
  interrupted = false;
  const auto taken = taken_signals();
  ::pthread_sigmask(SIG_BLOCK, &taken, &mask_before_);
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;  // a signal must not turn a write or an MPI call into an error
  sigemptyset(&action.sa_mask);
  for (const int number : kSignals)
    if (::sigaction(number, &action, nullptr) != 0)
      throw SystemError("cannot handle signal " + std::to_string(number) + ": " + std::strerror(errno));
  if (::pipe2(end_of_listening_, O_CLOEXEC) != 0)
    throw SystemError(std::string("cannot wait for signals: ") + std::strerror(errno));
  listener_ = std::thread([taken, end = end_of_listening_[0]] {
    ::pthread_sigmask(SIG_UNBLOCK, &taken, nullptr);
    char nothing = 0;
    while (::read(end, &nothing, 1) < 0 && errno == EINTR) {
    }
  });
}

StopSignal::~StopSignal() {
  if (installed.load() != this) return;
  // SIGUSR1, the warning, asks for nothing any more; a process that it killed in MPI's last words could hold up its
  // launcher.
  for (const int number : kSignals) ::signal(number, number == SIGUSR1 ? SIG_IGN : SIG_DFL);
  ::close(std::exchange(end_of_listening_[1], -1));
  if (listener_.joinable()) listener_.join();
  ::close(std::exchange(end_of_listening_[0], -1));
  installed = nullptr;
  ::pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
}

}  // namespace lsd
