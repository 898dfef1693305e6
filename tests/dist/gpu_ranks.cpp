// SPDX-License-Identifier: Apache-2.0
// Started under mpirun with 1 and 2 ranks that share the first GPU. Skipped, with the reason, where there is none.
#include <gmock/gmock.h>

#include "dist/collective_checks.h"
#include "lsd/backends/cuda_device.h"
#include "lsd/backends/make_backend.h"

namespace lsd::dist {
namespace {

class OneGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string why_not;
    if (!backends::cuda_device_present(why_not)) GTEST_SKIP() << why_not;
    backend_ = backends::make_cuda_backend({.device = 0});
    ranks_ = make_mpi_communicator();
    options_.gpu = backends::cuda_device_of(*backend_).uuid;
    options_.allocate_on_host = backends::allocate_page_locked;
    options_.deadline = std::chrono::minutes(1);
  }

  // Sums, slices and copies of tensors in GPU memory. `in_rank_order`: to the bit; else within rounding.
  void check_collectives(TensorCollectives& collectives, bool in_rank_order) {
    const int self = ranks_->rank(), size = ranks_->size();
    const auto elements = static_cast<std::size_t>(size) * 100003;
    std::vector<float> own(elements), expected(elements);
    for (std::size_t i = 0; i < elements; ++i) {
      own[i] = awkward(self, i);
      expected[i] = sum_in_rank_order(size, i);
    }
    const auto same = [&](const std::vector<float>& actual, std::size_t first) {
      for (std::size_t i = 0; i < actual.size(); ++i) {
        const float wanted = expected[first + i];
        ASSERT_LE(std::abs(actual[i] - wanted), in_rank_order ? 0.0F : 4e-7F * std::abs(wanted)) << i;
      }
    };
    Tensor values(*backend_, own), again(*backend_, own), slice(*backend_, std::vector<float>(elements / size));
    Tensor gathered(*backend_, std::vector<float>(elements));
    Tensor sent(*backend_, std::vector<float>(5, static_cast<float>(self)));
    const auto first = collectives.all_reduce_sum(values.view);
    const auto second = collectives.reduce_scatter_sum(again.view, slice.view);
    collectives.wait(first);
    collectives.wait(second);
    collectives.wait(collectives.all_gather(slice.view, gathered.view));
    collectives.wait(collectives.broadcast(sent.view, size - 1));
    same(values.host(), 0);
    same(slice.host(), static_cast<std::size_t>(self) * (elements / static_cast<std::size_t>(size)));
    same(gathered.host(), 0);
    EXPECT_THAT(sent.host(), ::testing::Each(static_cast<float>(size - 1)));
    collectives.throw_if_failed();
  }

  struct Tensor {
    Tensor(Backend& its_backend, const std::vector<float>& values)
        : backend(its_backend),
          memory(backend.allocate(values.size() * sizeof(float))),
          view(memory.data(), DType::float32, {static_cast<std::int64_t>(values.size())}, backend.device()) {
      backend.copy_to_device(view, values.data());
      backend.synchronize();
    }
    std::vector<float> host() const {
      std::vector<float> out(static_cast<std::size_t>(view.elements()));
      backend.copy_to_host(out.data(), view);
      backend.synchronize();
      return out;
    }
    Backend& backend;
    DeviceMemory memory;
    TensorView view;
  };

  std::unique_ptr<Backend> backend_;
  std::unique_ptr<HostCommunicator> ranks_;
  CollectivesOptions options_;
};

TEST_F(OneGpu, IsSharedByStagedCollectives) {
  const auto collectives = make_collectives("staged", *backend_, *ranks_, options_);
  check_collectives(*collectives, true);
}

TEST_F(OneGpu, IsNotSharedByMistake) {
  if (ranks_->size() == 1) GTEST_SKIP() << "one rank shares with nobody";
  for (const char* name : {"auto", "nccl"}) {
    try {
      make_collectives(name, *backend_, *ranks_, options_);
      ADD_FAILURE() << name << " should have refused";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), ::testing::HasSubstr("ranks 0 and 1 are both bound to " + options_.gpu));
    }
  }
}

TEST_F(OneGpu, OneRankOfNccl) {
  if (ranks_->size() > 1) GTEST_SKIP() << "NCCL takes one GPU per rank";
  std::string why_not;
  if (!nccl_usable(why_not)) GTEST_SKIP() << why_not;
  for (const bool deterministic : {false, true}) {
    options_.deterministic = deterministic;
    const auto collectives = make_collectives("nccl", *backend_, *ranks_, options_);
    EXPECT_EQ(collectives->name(), "nccl");
    check_collectives(*collectives, true);
  }
}

}  // namespace
}  // namespace lsd::dist

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const lsd::dist::MpiSession session(argc, argv);
  return RUN_ALL_TESTS();
}
