// SPDX-License-Identifier: Apache-2.0
#include "ordered_worker_internal.h"

#include <chrono>
#include <utility>

namespace lsd::tasks {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

}  // namespace

OrderedWorker::OrderedWorker() : thread_([this] { run(); }) {}

OrderedWorker::~OrderedWorker() {
  {
    const std::scoped_lock lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void OrderedWorker::wait_until_idle(std::unique_lock<std::mutex>& lock) {
  const auto begin = Clock::now();
  changed_.wait(lock, [&] { return !busy_; });
  giver_waited_ += seconds_since(begin);
  if (failure_) std::rethrow_exception(failure_);
}

void OrderedWorker::give(std::function<void()> piece) {
  std::unique_lock lock(mutex_);
  wait_until_idle(lock);
  piece_ = std::move(piece);
  busy_ = true;
  changed_.notify_all();
}

void OrderedWorker::drain() {
  std::unique_lock lock(mutex_);
  wait_until_idle(lock);
}

double OrderedWorker::seconds_worker_waited() const {
  const std::scoped_lock lock(mutex_);
  return worker_waited_;
}

void OrderedWorker::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto begin = Clock::now();
    changed_.wait(lock, [&] { return ending_ || piece_; });
    if (ending_) return;
    if (begun_) worker_waited_ += seconds_since(begin);
    begun_ = true;
    const auto piece = std::exchange(piece_, nullptr);
    lock.unlock();
    std::exception_ptr failure;
    try {
      piece();
    } catch (...) {
      failure = std::current_exception();
    }
    lock.lock();
    if (failure) failure_ = failure;
    busy_ = false;
    changed_.notify_all();
  }
}

}  // namespace lsd::tasks
