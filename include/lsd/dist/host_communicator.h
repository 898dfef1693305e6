// SPDX-License-Identifier: Apache-2.0
#pragma once
// Small messages between ranks in host memory. Every call is collective: all ranks, same order. One rank is a real
// communicator, so nothing above needs a special case. Implementations: single, threads (tests), MPI.
//
// Every wait has a deadline. A rank that waits longer throws SystemError naming the collective, the rank and the number
// of the call on this communicator; the communicator is then unusable and the job should end (abort).

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lsd::dist {

// Generous: a rank may write a checkpoint or read shards while the others already wait.
inline constexpr std::chrono::milliseconds kDefaultDeadline = std::chrono::minutes(30);

// Not thread safe: calls on one communicator come from one thread at a time. duplicate() gives another for another
// thread.
class HostCommunicator {
 public:
  virtual ~HostCommunicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual int node_rank() const = 0;  // among the ranks of this machine: picks the GPU
  virtual std::string describe() const = 0;

  // How long a call may wait for the other ranks; duplicates inherit it. Not collective.
  virtual void set_deadline(std::chrono::milliseconds deadline) = 0;

  virtual void barrier() = 0;
  virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
  // Summed in rank order, so that every rank gets the same bits, every time.
  virtual void all_reduce_sum(std::span<double> values) = 0;
  virtual void all_reduce_sum(std::span<std::int64_t> values) = 0;
  virtual void all_reduce_max(std::span<std::int64_t> values) = 0;
  // Every rank's bytes, in rank order, on every rank.
  virtual std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> bytes) = 0;
  // Sends to_rank[r] to rank r; gives what each rank sent here, in rank order. Sizes may differ and exceed 2 GiB.
  virtual std::vector<std::vector<std::byte>> all_to_all(const std::vector<std::vector<std::byte>>& to_rank) = 0;
  // The same with memory and sizes known on both sides: to[r] goes to rank r, from[r] is filled by rank r. No copies in
  // between. `to` and `from` must not overlap, except that to[rank()] and from[rank()] may be the same memory.
  virtual void exchange(std::span<const std::span<const std::byte>> to, std::span<const std::span<std::byte>> from) = 0;
  // An independent communicator over the same ranks (loader and gradients must not share one).
  virtual std::unique_ptr<HostCommunicator> duplicate() = 0;
  // Ends the whole job at once with this exit code: another rank may be waiting for us.
  [[noreturn]] virtual void abort(int exit_code) = 0;

  bool is_root() const { return rank() == 0; }
  std::string broadcast_text(std::string text, int root = 0);  // root's text on every rank

 protected:
  HostCommunicator() = default;
  HostCommunicator(const HostCommunicator&) = delete;
  HostCommunicator& operator=(const HostCommunicator&) = delete;
};

std::unique_ptr<HostCommunicator> make_single_communicator();
// `size` communicators of one process that talk through memory; use each on a thread of its own.
std::vector<std::unique_ptr<HostCommunicator>> make_thread_communicators(int size);
// Over MPI_COMM_WORLD. MPI must have been started (see MpiSession).
std::unique_ptr<HostCommunicator> make_mpi_communicator();

// Starts MPI with MPI_THREAD_MULTIPLE (checked) and ends it when destroyed, unless an exception is in flight.
class MpiSession {
 public:
  MpiSession(int& argc, char**& argv);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
};
// True when an MPI or Slurm launcher started this process as one of several ranks.
bool launched_by_mpi();

}  // namespace lsd::dist
