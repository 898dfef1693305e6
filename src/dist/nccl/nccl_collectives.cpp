// SPDX-License-Identifier: Apache-2.0
// Sums between GPUs. Collectives run on a stream of their own, which waits for the ops given so far; wait() makes the
// ops' stream wait for a collective. The host never waits here. NCCL adds in an order of its own, the same on all ranks
// and, with one algorithm and protocol (deterministic), on every run on the same GPUs.
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "../agreement_internal.h"
#include "collective_watch_internal.h"
#include "lsd/backends/cuda_device.h"
#include "lsd/core/error.h"
#include "nccl_library_internal.h"

namespace lsd::dist {
namespace {

void check_cuda(cudaError_t status, const char* what) {
  if (status == cudaSuccess) return;
  (void)cudaGetLastError();  // told here: the next launch is not to be blamed
  throw SystemError(fmt::format("{}: {} ({})", what, cudaGetErrorString(status), cudaGetErrorName(status)));
}

// Connections that break are reported as either.
bool is_of_a_peer(ncclResult_t status) {
  return status == ncclRemoteError || status == ncclSystemError;
}

class Event {
 public:
  Event() {
    check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "make a CUDA event for collectives");
  }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }
  ~Event() {
    if (event_ != nullptr) (void)cudaEventDestroy(event_);
  }
  cudaEvent_t get() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

class NcclCollectives final : public TensorCollectives {
 public:
  NcclCollectives(Backend& backend, std::unique_ptr<HostCommunicator> ranks, const CollectivesOptions& options);
  ~NcclCollectives() override;

  std::string_view name() const override { return "nccl"; }
  Ticket all_reduce_sum(TensorView values) override {
    return run("all_reduce_sum", values, [&](cudaStream_t stream) {
      return nccl_.all_reduce(values.raw(), values.raw(), count(values), ncclFloat32, ncclSum, comm_, stream);
    });
  }
  Ticket reduce_scatter_sum(ConstTensorView values, TensorView slice) override {
    check(values.elements() == slice.elements() * ranks_->size(), "reduce_scatter gives each rank an equal slice");
    check_tensor(slice);
    return run("reduce_scatter_sum", values, [&](cudaStream_t stream) {
      return nccl_.reduce_scatter(values.raw(), slice.raw(), count(slice), ncclFloat32, ncclSum, comm_, stream);
    });
  }
  Ticket all_gather(ConstTensorView slice, TensorView values) override {
    check(values.elements() == slice.elements() * ranks_->size(), "all_gather takes an equal slice from each rank");
    check_tensor(slice);
    return run("all_gather", values, [&](cudaStream_t stream) {
      return nccl_.all_gather(slice.raw(), values.raw(), count(slice), ncclFloat32, comm_, stream);
    });
  }
  Ticket broadcast(TensorView values, int root) override {
    check(root >= 0 && root < ranks_->size(), "the root of a broadcast is a rank");
    return run("broadcast", values, [&](cudaStream_t stream) {
      return nccl_.broadcast(values.raw(), values.raw(), count(values), ncclFloat32, root, comm_, stream);
    });
  }
  void wait(Ticket ticket) override;
  void throw_if_failed() override { watch_->throw_if_failed(); }

 private:
  struct Flight {
    Event done;
    bool ended = false, waited_for = false;
  };

  static std::size_t count(ConstTensorView values) { return static_cast<std::size_t>(values.elements()); }
  void check_tensor(ConstTensorView values) const {
    check_dtype(values.dtype(), DType::float32);
    check(values.device() == Device::cuda, "NCCL works on tensors in GPU memory");
  }
  std::string rank_text() const { return fmt::format("rank {} of {}", ranks_->rank(), ranks_->size()); }

  void connect();
  // Until the communicator has done what it was asked for. Throws where it fails or the deadline passes.
  void settle(ncclResult_t status, const std::string& what);
  std::string reason_of(ncclResult_t status) const;
  template <class Start>
  Ticket run(const char* what, ConstTensorView values, Start&& start);
  Event take_event();
  bool ended(Ticket ticket);  // these three are the watch's, on its thread
  std::optional<TransportFailure> failure();
  void abort();
  void recycle(std::map<Ticket, Flight>::iterator flight);

  backends::CudaDevice device_;
  std::unique_ptr<HostCommunicator> ranks_;
  CollectivesOptions options_;
  const NcclLibrary& nccl_;
  cudaStream_t ops_ = nullptr, stream_ = nullptr;
  std::unique_ptr<Event> ready_;
  std::mutex comm_mutex_;  // NCCL's calls come from this object's thread and from the watch's
  ncclComm_t comm_ = nullptr;
  std::mutex flights_mutex_;
  std::map<Ticket, Flight> flights_;
  std::vector<Event> free_events_;
  Ticket tickets_ = 0;
  std::unique_ptr<CollectiveWatch> watch_;  // last: joined before all else goes
};

NcclCollectives::NcclCollectives(Backend& backend, std::unique_ptr<HostCommunicator> ranks,
                                 const CollectivesOptions& options)
    : device_(backends::cuda_device_of(backend)),
      ranks_(std::move(ranks)),
      options_(options),
      nccl_(nccl_library()),
      ops_(static_cast<cudaStream_t>(device_.stream)) {
  // One algorithm and protocol for every size: then a sum's order depends on the ranks and how they are connected.
  if (options_.deterministic) {
    ::setenv("NCCL_ALGO", "Ring", 0);
    ::setenv("NCCL_PROTO", "Simple", 0);
  }
  all_or_none(*ranks_, [&] {
    check_cuda(cudaSetDevice(device_.device), "choose the GPU for collectives");
    check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "make a stream for collectives");
    ready_ = std::make_unique<Event>();
  });
  try {
    all_or_none(*ranks_, [&] { connect(); });
  } catch (...) {
    abort();  // some ranks may have met: nobody waits for the others
    throw;
  }
  watch_ =
      std::make_unique<CollectiveWatch>(CollectiveWatch::Options{.rank = rank_text(), .deadline = options_.deadline},
                                        WatchedTransport{.ended = [this](Ticket ticket) { return ended(ticket); },
                                                         .failure = [this] { return failure(); },
                                                         .abort = [this] { abort(); }});
}

// The other ranks may be gone when this one leaves by an exception: then it must not wait for them.
NcclCollectives::~NcclCollectives() {
  const bool broken = watch_ != nullptr && watch_->failed();
  watch_.reset();
  if (comm_ != nullptr) {
    bool finished = false;
    if (!broken && std::uncaught_exceptions() == 0) {
      try {
        settle(nccl_.comm_finalize(comm_), "the end of the communicator");
        finished = true;
      } catch (const Error&) {
        finished = false;  // destroyed the hard way below; the run's results are not concerned
      }
    }
    (void)(finished ? nccl_.comm_destroy(comm_) : nccl_.comm_abort(comm_));
  }
  if (stream_ != nullptr) (void)cudaStreamDestroy(stream_);
}

void NcclCollectives::connect() {
  ncclUniqueId id{};
  std::string problem;
  if (ranks_->is_root()) {
    const auto status = nccl_.get_unique_id(&id);
    if (status != ncclSuccess) problem = reason_of(status);
  }
  problem = ranks_->broadcast_text(problem);
  if (!problem.empty()) throw SystemError("NCCL gives no id for the ranks to meet: " + problem);
  ranks_->broadcast(std::as_writable_bytes(std::span(&id, 1)), 0);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;  // so that every wait is ours, with a deadline
  settle(nccl_.comm_init_rank_config(&comm_, ranks_->size(), id, ranks_->rank(), &config), "meeting the other ranks");
}

void NcclCollectives::settle(ncclResult_t status, const std::string& what) {
  const auto until = std::chrono::steady_clock::now() + options_.deadline;
  std::chrono::microseconds pause{1};
  while (status == ncclInProgress) {
    if (std::chrono::steady_clock::now() > until)
      throw PeerLostError(
          fmt::format("{} gave up in NCCL ({}): another rank did not come within the deadline of {} s; "
                      "look for the first error of the other ranks",
                      rank_text(), what, std::chrono::duration<double>(options_.deadline).count()));
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, std::chrono::microseconds(2000));
    const auto asked = nccl_.comm_get_async_error(comm_, &status);
    if (asked != ncclSuccess) status = asked;
  }
  if (status == ncclSuccess) return;
  const auto text = fmt::format("{} failed in NCCL ({}): {}", rank_text(), what, reason_of(status));
  if (is_of_a_peer(status)) throw PeerLostError(text);
  throw SystemError(text);
}

std::string NcclCollectives::reason_of(ncclResult_t status) const {
  const char* last = nccl_.get_last_error(comm_);
  return fmt::format("{}{}{}; NCCL_DEBUG=INFO tells more", nccl_.get_error_string(status),
                     last != nullptr && *last != '\0' ? ": " : "", last != nullptr ? last : "");
}

template <class Start>
TensorCollectives::Ticket NcclCollectives::run(const char* what, ConstTensorView values, Start&& start) {
  check_tensor(values);
  watch_->throw_if_failed();
  const auto ticket = ++tickets_;
  const auto text = fmt::format("{} of {} values", what, values.elements());
  Flight flight{.done = take_event()};
  {
    const std::lock_guard lock(comm_mutex_);
    if (comm_ == nullptr) watch_->throw_if_failed();  // ended by the watch just now
    check_cuda(cudaEventRecord(ready_->get(), ops_), "mark where a collective begins");
    check_cuda(cudaStreamWaitEvent(stream_, ready_->get(), 0), "order a collective behind the ops");
    settle(start(stream_), fmt::format("tensor collective {}, {}", ticket, text));
    check_cuda(cudaEventRecord(flight.done.get(), stream_), "mark where a collective ends");
  }
  {
    const std::lock_guard lock(flights_mutex_);
    flights_.emplace(ticket, std::move(flight));
  }
  watch_->add(ticket, text);
  return ticket;
}

void NcclCollectives::wait(Ticket ticket) {
  watch_->throw_if_failed();
  std::unique_lock lock(flights_mutex_);
  const auto flight = flights_.find(ticket);
  check(flight != flights_.end() && !flight->second.waited_for, "wait takes a ticket that was given out, once");
  const auto done = flight->second.done.get();  // stays until it has been waited for
  lock.unlock();
  check_cuda(cudaStreamWaitEvent(ops_, done, 0), "order the ops behind a collective");
  lock.lock();
  flight->second.waited_for = true;
  recycle(flight);
}

Event NcclCollectives::take_event() {
  const std::lock_guard lock(flights_mutex_);
  if (free_events_.empty()) return {};
  Event event = std::move(free_events_.back());
  free_events_.pop_back();
  return event;
}

void NcclCollectives::recycle(std::map<Ticket, Flight>::iterator flight) {
  if (!flight->second.ended || !flight->second.waited_for) return;
  free_events_.push_back(std::move(flight->second.done));
  flights_.erase(flight);
}

bool NcclCollectives::ended(Ticket ticket) {
  (void)cudaSetDevice(device_.device);  // of the watch's thread
  const std::lock_guard lock(flights_mutex_);
  const auto flight = flights_.find(ticket);
  // A device that failed says so here too: failure() then finds the words.
  if (flight == flights_.end() || cudaEventQuery(flight->second.done.get()) != cudaSuccess) return false;
  flight->second.ended = true;
  recycle(flight);
  return true;
}

std::optional<TransportFailure> NcclCollectives::failure() {
  const auto device = cudaStreamQuery(stream_);
  if (device != cudaSuccess && device != cudaErrorNotReady)
    return TransportFailure{
        fmt::format("the GPU failed: {} ({})", cudaGetErrorString(device), cudaGetErrorName(device)), false};
  const std::lock_guard lock(comm_mutex_);
  if (comm_ == nullptr) return std::nullopt;
  ncclResult_t status = ncclSuccess;
  const auto asked = nccl_.comm_get_async_error(comm_, &status);
  if (asked != ncclSuccess) status = asked;
  if (status == ncclSuccess || status == ncclInProgress) return std::nullopt;
  return TransportFailure{reason_of(status), is_of_a_peer(status)};
}

void NcclCollectives::abort() {
  const std::lock_guard lock(comm_mutex_);
  if (comm_ != nullptr) (void)nccl_.comm_abort(std::exchange(comm_, nullptr));
}

}  // namespace

bool nccl_usable(std::string& why_not) {
  try {
    (void)nccl_library();
    return true;
  } catch (const Error& error) {
    why_not = error.message();
    return false;
  }
}

std::unique_ptr<TensorCollectives> make_nccl_collectives(Backend& backend, std::unique_ptr<HostCommunicator> ranks,
                                                         const CollectivesOptions& options) {
  all_or_none(*ranks, [&] {
    if (!backends::cuda_device_of(backend).present())
      throw UserError(
          fmt::format("NCCL adds tensors in GPU memory, but the backend is {}; use --backend cuda, or "
                      "--collectives staged",
                      backend.name()));
    (void)nccl_library();
  });
  const auto version = text_of_nccl_version(nccl_library().version);
  const auto of_root = ranks->broadcast_text(version);
  all_or_none(*ranks, [&] {
    if (of_root != version)
      throw SystemError(
          fmt::format("rank {} has NCCL {} and rank 0 has {}; all ranks need the same, see "
                      "LD_LIBRARY_PATH on their machines",
                      ranks->rank(), version, of_root));
  });
  return std::make_unique<NcclCollectives>(backend, std::move(ranks), options);
}

}  // namespace lsd::dist
