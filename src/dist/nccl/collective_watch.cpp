// SPDX-License-Identifier: Apache-2.0
#include "collective_watch_internal.h"

#include <fmt/format.h>

#include "lsd/core/error.h"

namespace lsd::dist {

CollectiveWatch::CollectiveWatch(Options options, WatchedTransport transport)
    : options_(std::move(options)), transport_(std::move(transport)), thread_([this] { run(); }) {}

CollectiveWatch::~CollectiveWatch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void CollectiveWatch::add(TensorCollectives::Ticket ticket, std::string what) {
  {
    const std::lock_guard lock(mutex_);
    if (flights_.empty()) oldest_since_ = Clock::now();
    flights_.push_back({ticket, std::move(what)});
  }
  wake_.notify_all();
}

void CollectiveWatch::throw_if_failed() const {
  const std::lock_guard lock(mutex_);
  if (!error_) return;
  if (error_->of_a_peer) throw PeerLostError(error_->what);
  throw SystemError(error_->what);
}

bool CollectiveWatch::failed() const {
  const std::lock_guard lock(mutex_);
  return error_.has_value();
}

void CollectiveWatch::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (flights_.empty())
      wake_.wait(lock, [&] { return stopping_ || !flights_.empty(); });
    else
      wake_.wait_for(lock, options_.interval, [&] { return stopping_; });
    if (stopping_) return;
    auto error = look();
    if (!error) continue;
    error_ = std::move(error);
    lock.unlock();
    transport_.abort();
    return;
  }
}

std::optional<TransportFailure> CollectiveWatch::look() {
  while (!flights_.empty() && transport_.ended(flights_.front().ticket)) {
    flights_.pop_front();
    oldest_since_ = Clock::now();
  }
  if (flights_.empty()) return std::nullopt;
  if (const auto failure = transport_.failure())
    return TransportFailure{text_of(flights_.front(), failure->what), failure->of_a_peer};
  if (Clock::now() - oldest_since_ <= options_.deadline) return std::nullopt;
  return TransportFailure{
      text_of(flights_.front(), fmt::format("another rank did not come within the deadline of {} s",
                                            std::chrono::duration<double>(options_.deadline).count()))};
}

std::string CollectiveWatch::text_of(const Flight& flight, const std::string& problem) const {
  return fmt::format("{} gave up in tensor collective {} ({}): {}; look for the first error of the other ranks",
                     options_.rank, flight.ticket, flight.what, problem);
}

}  // namespace lsd::dist
