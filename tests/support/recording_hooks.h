// SPDX-License-Identifier: Apache-2.0
#pragma once
// Step hooks that note which gradients were reported final, and what they were at that moment.

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "lsd/nn/parameter_store.h"
#include "lsd/nn/step_context.h"

namespace lsd::testing {

class RecordingHooks : public nn::StepHooks {
 public:
  explicit RecordingHooks(const nn::ParameterStore& store) : store_(store) {}

  void sum_over_ranks(TensorView) override {}
  void on_gradients_final(std::int64_t begin, std::int64_t end) override {
    const auto block = store_.grad_block().span<float>();
    reports_.push_back({begin, end, {block.begin() + begin, block.begin() + end}});
  }

  // The reports tile the whole block, and nothing was added to a range after its report.
  void expect_whole_block_final_once() {
    const auto block = store_.grad_block().span<float>();
    for (const auto& report : reports_)
      EXPECT_TRUE(std::equal(report.values.begin(), report.values.end(), block.begin() + report.begin))
          << "elements from " << report.begin << " changed after they were reported final";
    std::ranges::sort(reports_, {}, &Report::begin);
    std::int64_t next = 0;
    for (const auto& report : reports_) {
      EXPECT_EQ(report.begin, next);
      next = report.end;
    }
    EXPECT_EQ(next, store_.elements());
  }

 private:
  struct Report {
    std::int64_t begin = 0, end = 0;
    std::vector<float> values;
  };
  const nn::ParameterStore& store_;
  std::vector<Report> reports_;
};

}  // namespace lsd::testing
