// SPDX-License-Identifier: Apache-2.0
#pragma once
// Sums of tensors over ranks, ordered with a backend's ops. A collective starts after the ops given so far and returns
// a ticket; wait(ticket) orders later ops behind it, without stopping the host where the device can wait by itself.
// Implementations: single, staged (through host memory and a HostCommunicator of its own, on a thread of its own, so
// that it overlaps with the backward pass), nccl (between GPUs, on a stream of its own).

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "lsd/dist/host_communicator.h"
#include "lsd/tensor/backend.h"

namespace lsd::dist {

class TensorCollectives {
 public:
  using Ticket = std::int64_t;
  virtual ~TensorCollectives() = default;
  virtual std::string_view name() const = 0;
  // float32, in place: all ranks get the same bits, and the same call at the same rank count gives the same bits again
  // (staged: each element is summed in rank order; nccl: in an order of its own, fixed when deterministic). The memory
  // must not be touched until wait().
  virtual Ticket all_reduce_sum(TensorView values) = 0;
  // Rank r's result: its slice [r * n / size, (r + 1) * n / size) of the sum; n divisible by size.
  virtual Ticket reduce_scatter_sum(ConstTensorView values, TensorView slice) = 0;
  virtual Ticket all_gather(ConstTensorView slice, TensorView values) = 0;
  virtual Ticket broadcast(TensorView values, int root) = 0;
  virtual void wait(Ticket ticket) = 0;  // once per ticket, in the order given; throws what went wrong on the way
  // To be called after the backend's synchronize() and before its results are used: a collective that a device runs by
  // itself may have failed after wait() ordered the ops behind it.
  virtual void throw_if_failed() {}
};

// Gives host memory of so many bytes.
using HostAllocator = std::function<DeviceMemory(std::size_t)>;

struct CollectivesOptions {
  std::string gpu;             // which GPU this rank computes on, of all machines (its UUID); empty: none
  bool deterministic = false;  // the same bits on every run
  std::chrono::milliseconds deadline = kDefaultDeadline;  // of nccl; staged has its communicator's
  HostAllocator allocate_on_host = {};                    // what staged copies pass through; empty: plain memory
};

std::unique_ptr<TensorCollectives> make_single_collectives();                  // host tensors
std::unique_ptr<TensorCollectives> make_single_collectives(Backend& backend);  // tensors of any device
// `communicator` becomes this object's own: duplicate the one that the rest of the program uses. Host tensors are
// reduced in place, device tensors through a host copy. Every rank destroys it outside a collective.
std::unique_ptr<TensorCollectives> make_staged_collectives(Backend& backend,
                                                           std::unique_ptr<HostCommunicator> communicator,
                                                           HostAllocator allocate_on_host = {});

// False with the reason where this build or this machine has no NCCL.
bool nccl_usable(std::string& why_not);
// Collective: throws on all ranks when one cannot. One GPU per rank, tensors in its memory. Destroyed like staged ones.
std::unique_ptr<TensorCollectives> make_nccl_collectives(Backend& backend,
                                                         std::unique_ptr<HostCommunicator> communicator,
                                                         const CollectivesOptions& options);
// Collective. Throws UserError on all ranks when two of them name the same GPU of the same machine.
void require_own_gpus(HostCommunicator& ranks, const std::string& gpu);
// Collective. "nccl"; "staged", which alone lets ranks share a GPU; "auto": nccl where the tensors are on GPUs and
// every rank has it, else staged, or single for one rank.
std::unique_ptr<TensorCollectives> make_collectives(std::string_view name, Backend& backend, HostCommunicator& ranks,
                                                    const CollectivesOptions& options);

}  // namespace lsd::dist
