// SPDX-License-Identifier: Apache-2.0
#pragma once
// Values worked out by hand, on the reference backend: what each op means.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <memory>

#include "backends/host_tensor.h"
#include "lsd/backends/make_backend.h"

namespace lsd::testing {

class HandWorked : public ::testing::Test {
 protected:
  std::unique_ptr<Backend> backend_ = backends::make_reference_backend();
};

inline void expect_values(const HostTensor& actual, const std::vector<float>& expected, float tolerance = 1e-6F) {
  EXPECT_THAT(actual.data, ::testing::Pointwise(::testing::FloatNear(tolerance), expected));
}

}  // namespace lsd::testing
