// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <type_traits>

#include <fmt/format.h>

#include "exchange_internal.h"
#include "lsd/core/error.h"

namespace lsd::dist {
namespace {

// What the ranks of one communicator share. Each call publishes pointers, meets, copies what it needs, meets again: the
// second meeting keeps every sender's memory alive until all have copied.
class Hub {
 public:
  explicit Hub(int size) : size_(size), slots_(static_cast<std::size_t>(size)) {}

  int size() const { return size_; }
  // `slots_[r]` is written by rank r before a meeting and read by the others after it.
  const void*& slot(int rank) { return slots_[static_cast<std::size_t>(rank)]; }

  // False when a rank did not come in time; the hub then stays broken, since the memory that the rank which gave up had
  // published may be gone.
  bool meet(std::chrono::milliseconds deadline) {
    std::unique_lock lock(mutex_);
    if (broken_) return false;
    const auto round = round_;
    if (++arrived_ == size_) {
      arrived_ = 0;
      ++round_;
      lock.unlock();
      all_here_.notify_all();
      return true;
    }
    // system_clock: waits on the steady clock go through pthread_cond_clockwait, which ThreadSanitizer does not follow.
    const auto until = std::chrono::system_clock::now() + deadline;
    all_here_.wait_until(lock, until, [&] { return round_ != round || broken_; });
    if (round_ != round) return true;
    broken_ = true;
    lock.unlock();
    all_here_.notify_all();
    return false;
  }

 private:
  int size_;
  std::vector<const void*> slots_;
  std::mutex mutex_;
  std::condition_variable all_here_;
  int arrived_ = 0;
  std::int64_t round_ = 0;
  bool broken_ = false;
};

class ThreadCommunicator final : public HostCommunicator {
 public:
  ThreadCommunicator(std::shared_ptr<Hub> hub, int rank, std::chrono::milliseconds deadline)
      : hub_(std::move(hub)), rank_(rank), deadline_(deadline) {}

  int rank() const override { return rank_; }
  int size() const override { return hub_->size(); }
  int node_rank() const override { return rank_; }
  std::string describe() const override { return fmt::format("thread {} of {}", rank_, size()); }
  void set_deadline(std::chrono::milliseconds deadline) override { deadline_ = deadline; }

  void barrier() override {
    ++calls_;
    meet("barrier");
  }

  void broadcast(Bytes bytes, int root) override {
    check(root >= 0 && root < size(), "the root of a broadcast is a rank");
    ++calls_;
    publish(&bytes, "broadcast");
    const auto& source = *static_cast<const Bytes*>(hub_->slot(root));
    check(source.size() == bytes.size(), "all ranks of a broadcast give the same size");
    if (rank_ != root && !bytes.empty()) std::memcpy(bytes.data(), source.data(), bytes.size());
    meet("broadcast");
  }

  void all_reduce_sum(std::span<double> values) override {
    reduce(values, "all_reduce_sum", [](auto a, auto b) { return a + b; });
  }
  void all_reduce_sum(std::span<std::int64_t> values) override {
    reduce(values, "all_reduce_sum", [](auto a, auto b) { return a + b; });
  }
  void all_reduce_max(std::span<std::int64_t> values) override {
    reduce(values, "all_reduce_max", [](auto a, auto b) { return std::max(a, b); });
  }

  std::vector<std::vector<std::byte>> all_gather(ConstBytes bytes) override {
    return all_gather_by_exchange(*this, bytes);
  }
  std::vector<std::vector<std::byte>> all_to_all(const std::vector<std::vector<std::byte>>& to_rank) override {
    return all_to_all_by_exchange(*this, to_rank);
  }

  void exchange(std::span<const ConstBytes> to, std::span<const Bytes> from) override {
    check(to.size() == static_cast<std::size_t>(size()) && from.size() == to.size(),
          "exchange takes one span per rank");
    ++calls_;
    publish(&to, "exchange");
    for (int r = 0; r < size(); ++r) {
      const auto source =
          (*static_cast<const std::span<const ConstBytes>*>(hub_->slot(r)))[static_cast<std::size_t>(rank_)];
      const auto target = from[static_cast<std::size_t>(r)];
      check(source.size() == target.size(), "both sides of an exchange name the same size");
      if (!source.empty() && source.data() != target.data()) std::memcpy(target.data(), source.data(), source.size());
    }
    meet("exchange");
  }

  std::unique_ptr<HostCommunicator> duplicate() override {
    ++calls_;
    std::shared_ptr<Hub> hub;
    if (rank_ == 0) hub = std::make_shared<Hub>(size());
    publish(&hub, "duplicate");
    auto shared = *static_cast<const std::shared_ptr<Hub>*>(hub_->slot(0));
    meet("duplicate");
    return std::make_unique<ThreadCommunicator>(std::move(shared), rank_, deadline_);
  }

  [[noreturn]] void abort(int exit_code) override { std::_Exit(exit_code); }

 private:
  void publish(const void* what, const char* collective) {
    hub_->slot(rank_) = what;
    meet(collective);
  }

  void meet(const char* collective) {
    if (!hub_->meet(deadline_))
      throw PeerLostError(
          fmt::format("rank {} of {} gave up in {} (call {} on this communicator): another rank did not come "
                      "within the deadline of {} s; look for the first error of the other ranks",
                      rank_, size(), collective, calls_, std::chrono::duration<double>(deadline_).count()));
  }

  template <class T, class Combine>
  void reduce(std::span<T> values, const char* collective, Combine combine) {
    ++calls_;
    publish(&values, collective);
    std::vector<std::remove_const_t<T>> total;
    for (int r = 0; r < size(); ++r) {
      const auto part = *static_cast<const std::span<T>*>(hub_->slot(r));
      check(part.size() == values.size(), "all ranks of a reduction give the same size");
      if (r == 0)
        total.assign(part.begin(), part.end());
      else
        std::transform(total.begin(), total.end(), part.begin(), total.begin(), combine);
    }
    meet(collective);
    std::copy(total.begin(), total.end(), values.begin());
  }

  std::shared_ptr<Hub> hub_;
  int rank_;
  std::chrono::milliseconds deadline_;
  std::int64_t calls_ = 0;
};

}  // namespace

std::vector<std::unique_ptr<HostCommunicator>> make_thread_communicators(int size) {
  check(size > 0, "a communicator has at least one rank");
  const auto hub = std::make_shared<Hub>(size);
  std::vector<std::unique_ptr<HostCommunicator>> ranks;
  for (int r = 0; r < size; ++r) ranks.push_back(std::make_unique<ThreadCommunicator>(hub, r, kDefaultDeadline));
  return ranks;
}

}  // namespace lsd::dist
