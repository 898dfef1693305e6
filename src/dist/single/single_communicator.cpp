// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <cstring>

#include "exchange_internal.h"
#include "lsd/core/error.h"

namespace lsd::dist {
namespace {

class SingleCommunicator final : public HostCommunicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int node_rank() const override { return 0; }
  std::string describe() const override { return "single process"; }
  void set_deadline(std::chrono::milliseconds) override {}

  void barrier() override {}
  void broadcast(Bytes, int root) override { check(root == 0, "the root of a broadcast is a rank"); }
  void all_reduce_sum(std::span<double>) override {}
  void all_reduce_sum(std::span<std::int64_t>) override {}
  void all_reduce_max(std::span<std::int64_t>) override {}
  std::vector<std::vector<std::byte>> all_gather(ConstBytes bytes) override {
    return {std::vector<std::byte>(bytes.begin(), bytes.end())};
  }
  std::vector<std::vector<std::byte>> all_to_all(const std::vector<std::vector<std::byte>>& to_rank) override {
    return all_to_all_by_exchange(*this, to_rank);
  }
  void exchange(std::span<const ConstBytes> to, std::span<const Bytes> from) override {
    check(to.size() == 1 && from.size() == 1 && to[0].size() == from[0].size(), "exchange with oneself has one size");
    if (!to[0].empty() && to[0].data() != from[0].data()) std::memcpy(from[0].data(), to[0].data(), to[0].size());
  }
  std::unique_ptr<HostCommunicator> duplicate() override { return make_single_communicator(); }
  [[noreturn]] void abort(int exit_code) override { std::_Exit(exit_code); }
};

}  // namespace

std::unique_ptr<HostCommunicator> make_single_communicator() {
  return std::make_unique<SingleCommunicator>();
}

}  // namespace lsd::dist
