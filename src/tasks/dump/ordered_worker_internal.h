// SPDX-License-Identifier: Apache-2.0
#pragma once
// A thread that runs what it is given in the order given, at most one piece behind: give() waits until the piece before
// has been done, so that memory stays bounded. What a piece throws comes out of the next give() or drain(), and nothing
// given after it runs. Tells how long either side waited for the other.

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace lsd::tasks {

class OrderedWorker {
 public:
  OrderedWorker();
  ~OrderedWorker();  // drops what has not begun
  OrderedWorker(const OrderedWorker&) = delete;
  OrderedWorker& operator=(const OrderedWorker&) = delete;

  void give(std::function<void()> piece);
  void drain();  // returns when everything given is done

  double seconds_giver_waited() const { return giver_waited_; }  // in give() and drain(), for the worker
  double seconds_worker_waited() const;                          // for pieces, between the first and the last

 private:
  void run();
  void wait_until_idle(std::unique_lock<std::mutex>& lock);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::function<void()> piece_;
  bool busy_ = false, ending_ = false, begun_ = false;
  std::exception_ptr failure_;
  double giver_waited_ = 0.0, worker_waited_ = 0.0;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace lsd::tasks
