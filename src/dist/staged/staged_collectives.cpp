// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include <fmt/format.h>

#include "lsd/core/error.h"
#include "lsd/dist/tensor_collectives.h"
#include "ordered_sum_internal.h"

namespace lsd::dist {
namespace {

// Runs jobs one after the other on a thread of its own. The first error stops the queue: every later wait throws it.
class Worker {
 public:
  using Ticket = TensorCollectives::Ticket;

  Worker() : thread_([this] { run(); }) {}

  // Lets the jobs given so far end first: other ranks take part in them.
  ~Worker() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    thread_.join();
  }

  Ticket give(std::function<void()> job) {
    Ticket ticket = 0;
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
      ticket = ++given_;
    }
    wake_.notify_all();
    return ticket;
  }

  void wait(Ticket ticket) {
    std::unique_lock lock(mutex_);
    check(ticket > 0 && ticket <= given_, "wait takes a ticket that was given out");
    done_changed_.wait(lock, [&] { return done_ >= ticket || error_ != nullptr; });
    if (done_ < ticket) std::rethrow_exception(error_);
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      const auto job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      std::exception_ptr error;
      try {
        job();
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      if (error != nullptr) {
        error_ = error;
        jobs_.clear();
        done_changed_.notify_all();
        return;
      }
      ++done_;
      done_changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_changed_;
  std::deque<std::function<void()>> jobs_;
  Ticket given_ = 0, done_ = 0;
  bool stopping_ = false;
  std::exception_ptr error_;
  std::thread thread_;  // last: starts when all else stands
};

DeviceMemory allocate_plain(std::size_t bytes) {
  return {new std::byte[bytes], bytes, [](void* memory) { delete[] static_cast<std::byte*>(memory); }};
}

class StagedCollectives final : public TensorCollectives {
 public:
  StagedCollectives(Backend& backend, std::unique_ptr<HostCommunicator> ranks, HostAllocator allocate_on_host)
      : backend_(backend),
        ranks_(std::move(ranks)),
        sum_(*ranks_),
        allocate_on_host_(allocate_on_host ? std::move(allocate_on_host) : allocate_plain) {}

  std::string_view name() const override { return "staged"; }

  Ticket all_reduce_sum(TensorView values) override {
    const auto host = to_host(values, true);
    return submit(
        "all_reduce_sum", [this, host] { sum_.all_reduce(host); }, values, host);
  }

  Ticket reduce_scatter_sum(ConstTensorView values, TensorView slice) override {
    const auto from = to_host(values);
    const auto to = to_host(slice, false);
    return submit(
        "reduce_scatter_sum", [this, from, to] { sum_.reduce_scatter(from, to); }, slice, to);
  }

  Ticket all_gather(ConstTensorView slice, TensorView values) override {
    const auto from = to_host(slice);
    const auto to = to_host(values, false);
    return submit(
        "all_gather", [this, from, to] { sum_.all_gather(from, to); }, values, to);
  }

  Ticket broadcast(TensorView values, int root) override {
    const auto host = to_host(values, ranks_->rank() == root);
    return submit(
        "broadcast", [this, host, root] { ranks_->broadcast(std::as_writable_bytes(host), root); }, values, host);
  }

  void wait(Ticket ticket) override {
    with_context(fmt::format("while waiting for tensor collective {}", ticket), [&] { worker_.wait(ticket); });
    while (!pending_.empty() && pending_.front().ticket <= ticket) {
      auto& pending = pending_.front();
      if (pending.target.present()) {
        backend_.copy_to_device(pending.target, pending.staging.data());
        // The copy reads the staging memory, which is used again from here on.
        backend_.synchronize();
      }
      for (auto& buffer : pending.buffers) free_buffers_.push_back(std::move(buffer));
      pending_.pop_front();
    }
  }

 private:
  struct Pending {
    Ticket ticket = 0;
    TensorView target;  // where the result goes; absent when it already stands there (host tensors)
    std::span<float> staging;
    std::vector<DeviceMemory> buffers;
  };

  // A host tensor's own memory, or a staging buffer (filled from the device when `fill`).
  std::span<float> to_host(TensorView values, bool fill) {
    if (values.device() == Device::host) return values.span<float>();
    const auto staging = take_buffer(static_cast<std::size_t>(values.elements()));
    if (fill) download(staging, values);
    return staging;
  }
  std::span<const float> to_host(ConstTensorView values) {
    if (values.device() == Device::host) return values.span<float>();
    const auto staging = take_buffer(static_cast<std::size_t>(values.elements()));
    download(staging, values);
    return staging;
  }

  void download(std::span<float> staging, ConstTensorView values) {
    check_dtype(values.dtype(), DType::float32);
    backend_.copy_to_host(staging.data(), values);
    backend_.synchronize();
  }

  // The most recently used buffer that is large enough, or a new one: buckets have few sizes.
  std::span<float> take_buffer(std::size_t elements) {
    const auto bytes = elements * sizeof(float);
    auto found = std::find_if(free_buffers_.rbegin(), free_buffers_.rend(),
                              [&](const auto& buffer) { return buffer.bytes() >= bytes; });
    if (found == free_buffers_.rend()) {
      taken_.push_back(allocate_on_host_(bytes));
    } else {
      taken_.push_back(std::move(*found));
      free_buffers_.erase(std::next(found).base());
    }
    return {static_cast<float*>(taken_.back().data()), elements};
  }

  Ticket submit(const char* what, std::function<void()> job, TensorView target, std::span<float> staging) {
    const auto number = ++submitted_;
    const auto ticket = worker_.give([what, number, job = std::move(job)] {
      with_context(fmt::format("in tensor collective {} ({})", number, what), job);
    });
    const bool staged = target.device() != Device::host;
    pending_.push_back({ticket, staged ? target : TensorView(), staging, std::move(taken_)});
    taken_.clear();
    return ticket;
  }

  Backend& backend_;
  std::unique_ptr<HostCommunicator> ranks_;  // used by the worker only, but for rank() and size()
  OrderedSum sum_;
  HostAllocator allocate_on_host_;
  std::vector<DeviceMemory> taken_, free_buffers_;  // page-locked where the device has a use for that
  std::deque<Pending> pending_;
  std::int64_t submitted_ = 0;
  Worker worker_;  // last: joined before the communicator goes
};

}  // namespace

std::unique_ptr<TensorCollectives> make_staged_collectives(Backend& backend,
                                                           std::unique_ptr<HostCommunicator> communicator,
                                                           HostAllocator allocate_on_host) {
  return std::make_unique<StagedCollectives>(backend, std::move(communicator), std::move(allocate_on_host));
}

}  // namespace lsd::dist
