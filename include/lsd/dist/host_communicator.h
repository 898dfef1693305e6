// SPDX-License-Identifier: Apache-2.0
#pragma once
// Small messages between ranks in host memory. Every call is collective: all ranks, same order. One rank is a real
// communicator, so nothing above needs a special case. Implementations: single, threads (tests), MPI.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lsd::dist {

class HostCommunicator {
 public:
  virtual ~HostCommunicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual int node_rank() const = 0;  // among the ranks of this machine: picks the GPU
  virtual std::string describe() const = 0;

  virtual void barrier() = 0;
  virtual void broadcast(std::span<std::byte> bytes, int root) = 0;
  virtual void all_reduce_sum(std::span<double> values) = 0;
  virtual void all_reduce_sum(std::span<std::int64_t> values) = 0;
  virtual void all_reduce_max(std::span<std::int64_t> values) = 0;
  // Every rank's bytes, in rank order, on every rank.
  virtual std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> bytes) = 0;
  // Sends to_rank[r] to rank r; gives what each rank sent here, in rank order. Sizes may differ and exceed 2 GiB.
  virtual std::vector<std::vector<std::byte>> all_to_all(const std::vector<std::vector<std::byte>>& to_rank) = 0;
  // An independent communicator over the same ranks (loader and gradients must not share one).
  virtual std::unique_ptr<HostCommunicator> duplicate() = 0;
  // Ends the whole job at once with this exit code: another rank may be waiting for us.
  [[noreturn]] virtual void abort(int exit_code) = 0;

  bool is_root() const { return rank() == 0; }
  std::string broadcast_text(std::string text, int root = 0);  // root's text on every rank
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
