// SPDX-License-Identifier: Apache-2.0
#pragma once
// Watches collectives that a device runs by itself, in order, while the host goes on. A thread of its own asks whether
// the oldest has ended and whether the transport reports a failure. The first collective that fails, or does not end
// within the deadline after the one before it, ends the transport (so that nobody waits for ever) and leaves an error
// naming collective and rank, which every later call here throws.

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "lsd/dist/tensor_collectives.h"

namespace lsd::dist {

struct TransportFailure {
  std::string what;       // in words
  bool of_a_peer = true;  // or of the way there; else this rank's own device failed
};

// What the watch asks of a transport, from its own thread.
struct WatchedTransport {
  std::function<bool(TensorCollectives::Ticket)> ended;
  std::function<std::optional<TransportFailure>()> failure;  // once something went wrong
  std::function<void()> abort;                               // ends what runs; called once at most
};

class CollectiveWatch {
 public:
  struct Options {
    std::string rank;  // "rank 1 of 4"
    std::chrono::milliseconds deadline = kDefaultDeadline;
    std::chrono::milliseconds interval{20};
  };

  CollectiveWatch(Options options, WatchedTransport transport);
  ~CollectiveWatch();
  CollectiveWatch(const CollectiveWatch&) = delete;
  CollectiveWatch& operator=(const CollectiveWatch&) = delete;

  // `what`: "all_reduce_sum of 4096 values". Tickets in the order in which they run.
  void add(TensorCollectives::Ticket ticket, std::string what);
  void throw_if_failed() const;
  bool failed() const;

 private:
  using Clock = std::chrono::steady_clock;  // no deadline passes because somebody sets the time
  struct Flight {
    TensorCollectives::Ticket ticket;
    std::string what;
  };

  void run();
  std::optional<TransportFailure> look();  // with mutex_ held
  std::string text_of(const Flight& flight, const std::string& problem) const;

  Options options_;
  WatchedTransport transport_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Flight> flights_;
  Clock::time_point oldest_since_;  // when the oldest flight became the oldest
  std::optional<TransportFailure> error_;
  bool stopping_ = false;
  std::thread thread_;  // last: starts when all else stands
};

}  // namespace lsd::dist
