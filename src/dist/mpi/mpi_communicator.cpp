// SPDX-License-Identifier: Apache-2.0
#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <thread>

#include <fmt/format.h>

#include "exchange_internal.h"
#include "lsd/core/error.h"
#include "mpi_check_internal.h"

namespace lsd::dist {
namespace {

// MPI counts are int: longer messages go in pieces.
constexpr std::size_t kPieceBytes = std::size_t{1} << 30U;
// Values of one ordered sum: all ranks' values are gathered, so this bounds the memory at ranks x 512 KiB.
constexpr std::size_t kSumPiece = std::size_t{1} << 16U;

int count_of(std::size_t elements) {
  return static_cast<int>(elements);
}

class MpiCommunicator final : public HostCommunicator {
 public:
  // Takes over `comm`.
  MpiCommunicator(MPI_Comm comm, int node_rank, std::chrono::milliseconds deadline)
      : comm_(comm), node_rank_(node_rank), deadline_(deadline) {
    check_mpi(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    check_mpi(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
    check_mpi(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
  }

  ~MpiCommunicator() override {
    // Freeing is collective: not while an error of this rank is on its way up, nor after a call that never ended.
    if (std::uncaught_exceptions() == 0 && !broken_) MPI_Comm_free(&comm_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int node_rank() const override { return node_rank_; }
  std::string describe() const override {
    char name[MPI_MAX_PROCESSOR_NAME + 1] = {};
    int length = 0;
    check_mpi(MPI_Get_processor_name(name, &length), "MPI_Get_processor_name");
    return fmt::format("MPI rank {} of {} on {} (local rank {})", rank_, size_, name, node_rank_);
  }
  void set_deadline(std::chrono::milliseconds deadline) override { deadline_ = deadline; }

  void barrier() override {
    begin("barrier");
    check_mpi(MPI_Ibarrier(comm_, &add_request()), "MPI_Ibarrier");
    wait();
  }

  void broadcast(Bytes bytes, int root) override {
    check(root >= 0 && root < size_, "the root of a broadcast is a rank");
    begin("broadcast");
    for (std::size_t at = 0; at < bytes.size(); at += kPieceBytes) {
      const auto piece = bytes.subspan(at, std::min(kPieceBytes, bytes.size() - at));
      check_mpi(MPI_Ibcast(piece.data(), count_of(piece.size()), MPI_BYTE, root, comm_, &add_request()), "MPI_Ibcast");
    }
    wait();
  }

  void all_reduce_sum(std::span<double> values) override {
    begin("all_reduce_sum");
    std::vector<double> gathered;
    for (std::size_t at = 0; at < values.size(); at += kSumPiece) {
      const auto piece = values.subspan(at, std::min(kSumPiece, values.size() - at));
      gathered.resize(piece.size() * static_cast<std::size_t>(size_));
      check_mpi(MPI_Iallgather(piece.data(), count_of(piece.size()), MPI_DOUBLE, gathered.data(),
                               count_of(piece.size()), MPI_DOUBLE, comm_, &add_request()),
                "MPI_Iallgather");
      wait();
      for (std::size_t i = 0; i < piece.size(); ++i) {
        double sum = gathered[i];
        for (std::size_t r = 1; r < static_cast<std::size_t>(size_); ++r) sum += gathered[r * piece.size() + i];
        piece[i] = sum;
      }
    }
  }

  // Integers add up and compare exactly in any order.
  void all_reduce_sum(std::span<std::int64_t> values) override { reduce_integers(values, MPI_SUM, "all_reduce_sum"); }
  void all_reduce_max(std::span<std::int64_t> values) override { reduce_integers(values, MPI_MAX, "all_reduce_max"); }

  std::vector<std::vector<std::byte>> all_gather(ConstBytes bytes) override {
    return all_gather_by_exchange(*this, bytes);
  }
  std::vector<std::vector<std::byte>> all_to_all(const std::vector<std::vector<std::byte>>& to_rank) override {
    return all_to_all_by_exchange(*this, to_rank);
  }

  void exchange(std::span<const ConstBytes> to, std::span<const Bytes> from) override {
    const auto ranks = static_cast<std::size_t>(size_), self = static_cast<std::size_t>(rank_);
    check(to.size() == ranks && from.size() == ranks, "exchange takes one span per rank");
    check(to[self].size() == from[self].size(), "both sides of an exchange name the same size");
    begin("exchange");
    // Starting with the right-hand neighbour spreads the first messages over all ranks.
    for (std::size_t step = 1; step < ranks; ++step) receive(from[(self + step) % ranks], (self + step) % ranks);
    for (std::size_t step = 1; step < ranks; ++step) send(to[(self + step) % ranks], (self + step) % ranks);
    if (!to[self].empty() && to[self].data() != from[self].data())
      std::memcpy(from[self].data(), to[self].data(), to[self].size());
    wait();
  }

  std::unique_ptr<HostCommunicator> duplicate() override {
    begin("duplicate");
    MPI_Comm copy = MPI_COMM_NULL;
    check_mpi(MPI_Comm_idup(comm_, &copy, &add_request()), "MPI_Comm_idup");
    wait();
    return std::make_unique<MpiCommunicator>(copy, node_rank_, deadline_);
  }

  [[noreturn]] void abort(int exit_code) override {
    MPI_Abort(comm_, exit_code);
    std::_Exit(exit_code);
  }

 private:
  void begin(const char* collective) {
    if (broken_)
      throw PeerLostError(
          fmt::format("rank {} of {}: {} on a communicator on which an earlier call failed", rank_, size_, collective));
    collective_ = collective;
    ++calls_;
    requests_.clear();
  }

  MPI_Request& add_request() { return requests_.emplace_back(MPI_REQUEST_NULL); }

  void receive(Bytes bytes, std::size_t source) {
    for (std::size_t at = 0; at < bytes.size(); at += kPieceBytes) {
      const auto piece = bytes.subspan(at, std::min(kPieceBytes, bytes.size() - at));
      check_mpi(
          MPI_Irecv(piece.data(), count_of(piece.size()), MPI_BYTE, static_cast<int>(source), 0, comm_, &add_request()),
          "MPI_Irecv");
    }
  }

  void send(ConstBytes bytes, std::size_t target) {
    for (std::size_t at = 0; at < bytes.size(); at += kPieceBytes) {
      const auto piece = bytes.subspan(at, std::min(kPieceBytes, bytes.size() - at));
      check_mpi(
          MPI_Isend(piece.data(), count_of(piece.size()), MPI_BYTE, static_cast<int>(target), 0, comm_, &add_request()),
          "MPI_Isend");
    }
  }

  void reduce_integers(std::span<std::int64_t> values, MPI_Op operation, const char* collective) {
    begin(collective);
    constexpr std::size_t piece_size = kPieceBytes / sizeof(std::int64_t);
    for (std::size_t at = 0; at < values.size(); at += piece_size) {
      const auto piece = values.subspan(at, std::min(piece_size, values.size() - at));
      check_mpi(MPI_Iallreduce(MPI_IN_PLACE, piece.data(), count_of(piece.size()), MPI_INT64_T, operation, comm_,
                               &add_request()),
                "MPI_Iallreduce");
    }
    wait();
  }

  // MPI_Wait has no deadline, so this polls: at first without pause, then with sleeps of up to 200 us, so that ranks
  // that share a core let each other run.
  void wait() {
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    auto pause = std::chrono::microseconds(1);
    for (int polls = 0;; ++polls) {
      int done = 0;
      const int code = MPI_Testall(count_of(requests_.size()), requests_.data(), &done, MPI_STATUSES_IGNORE);
      if (code != MPI_SUCCESS) broken_ = true;
      check_mpi(code, fmt::format("{} (call {} of rank {})", collective_, calls_, rank_));
      if (done != 0) break;
      if (polls < 50) continue;
      if (polls < 100) {
        std::this_thread::yield();
        continue;
      }
      if (Clock::now() - start > deadline_) give_up();
      std::this_thread::sleep_for(pause);
      pause = std::min(pause * 2, std::chrono::microseconds(200));
    }
    requests_.clear();
  }

  [[noreturn]] void give_up() {
    broken_ = true;
    throw PeerLostError(
        fmt::format("rank {} of {} gave up in {} (call {} on this communicator): another rank did not come within "
                    "the deadline of {} s; look for the first error of the other ranks",
                    rank_, size_, collective_, calls_, std::chrono::duration<double>(deadline_).count()));
  }

  MPI_Comm comm_;
  int rank_ = 0, size_ = 1, node_rank_ = 0;
  std::chrono::milliseconds deadline_;
  const char* collective_ = "";
  std::int64_t calls_ = 0;
  bool broken_ = false;
  std::vector<MPI_Request> requests_;  // of the call under way
};

int rank_on_this_node() {
  MPI_Comm node = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node), "MPI_Comm_split_type");
  int rank = 0;
  check_mpi(MPI_Comm_rank(node, &rank), "MPI_Comm_rank");
  check_mpi(MPI_Comm_free(&node), "MPI_Comm_free");
  return rank;
}

}  // namespace

std::unique_ptr<HostCommunicator> make_mpi_communicator() {
  int started = 0;
  check_mpi(MPI_Initialized(&started), "MPI_Initialized");
  check(started != 0, "MpiSession starts MPI before a communicator is made");
  const int node_rank = rank_on_this_node();
  MPI_Comm world = MPI_COMM_NULL;
  check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &world), "MPI_Comm_dup");
  return std::make_unique<MpiCommunicator>(world, node_rank, kDefaultDeadline);
}

}  // namespace lsd::dist
