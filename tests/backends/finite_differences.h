// SPDX-License-Identifier: Apache-2.0
#pragma once
// Gradients of the reference backend against finite differences.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>

#include "backends/host_tensor.h"
#include "lsd/backends/make_backend.h"

namespace lsd::testing {

class Gradients : public ::testing::Test {
 protected:
  std::unique_ptr<Backend> backend_ = backends::make_reference_backend();
};

// Central differences of `loss` in every element of `x` against `gradient`, as a ratio of norms. The step is large
// because outputs are float32; a wrong factor or a missing term is off by far more than 2e-3.
inline void expect_gradient(HostTensor& x, const HostTensor& gradient, const std::function<double()>& loss,
                            const char* name) {
  double difference = 0.0, total = 0.0;
  for (std::size_t i = 0; i < x.data.size(); ++i) {
    const float before = x.data[i], high = before + 1e-2F, low = before - 1e-2F;
    x.data[i] = high;
    const double above = loss();
    x.data[i] = low;
    const double below = loss();
    x.data[i] = before;
    const double numeric = (above - below) / (static_cast<double>(high) - static_cast<double>(low));
    difference += std::pow(numeric - static_cast<double>(gradient.data[i]), 2);
    total += numeric * numeric;
  }
  EXPECT_GT(total, 0.0) << name << ": the loss does not depend on it";
  EXPECT_LE(std::sqrt(difference / total), 2e-3) << name;
}

inline double weighted(const HostTensor& values, const HostTensor& weights) {
  double sum = 0.0;
  for (std::size_t i = 0; i < values.data.size(); ++i)
    sum += static_cast<double>(values.data[i]) * static_cast<double>(weights.data[i]);
  return sum;
}

}  // namespace lsd::testing
