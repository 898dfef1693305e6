// SPDX-License-Identifier: Apache-2.0
#include "lsd/core/stop_signal.h"

#include <signal.h>

#include <cerrno>
#include <cstring>
#include <string>

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

}  // namespace

void StopSignal::install() {
  StopSignal* nobody = nullptr;
  check(installed.compare_exchange_strong(nobody, this) || nobody == this, "one StopSignal is installed at a time");
  interrupted = false;
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;  // a signal must not turn a write or an MPI call into an error
  sigemptyset(&action.sa_mask);
  for (const int number : kSignals)
    if (::sigaction(number, &action, nullptr) != 0)
      throw SystemError("cannot handle signal " + std::to_string(number) + ": " + std::strerror(errno));
}

StopSignal::~StopSignal() {
  StopSignal* self = this;
  if (!installed.compare_exchange_strong(self, nullptr)) return;
  for (const int number : kSignals) ::signal(number, SIG_DFL);
}

}  // namespace lsd
