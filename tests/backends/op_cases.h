// SPDX-License-Identifier: Apache-2.0
#pragma once
// Every operation once or more, at sizes that the caller chooses: the tests take awkward ones, the benchmark real ones.

#include "backends/draw_and_loss_cases.h"
#include "backends/matrix_cases.h"
#include "backends/norm_cases.h"
#include "backends/pointwise_cases.h"
#include "backends/reduction_cases.h"

namespace lsd::testing {

inline std::vector<OpCase> op_cases(const CaseSizes& sizes) {
  std::vector<OpCase> out;
  cases::add_matrix(out, sizes, "qkv", sizes.width, 3 * sizes.width);
  cases::add_matrix(out, sizes, "up", sizes.width, sizes.inner);
  cases::add_matrix(out, sizes, "down", sizes.inner, sizes.width);
  cases::add_float_head(out, sizes);
  cases::add_norms(out, sizes);
  cases::add_adaptive_norms(out, sizes);
  cases::add_attention(out, sizes);
  cases::add_pointwise(out, sizes);
  cases::add_random(out, sizes);
  cases::add_losses(out, sizes);
  cases::add_reductions(out, sizes);
  cases::add_multivariate(out, sizes);
  cases::add_optimizer(out, sizes);
  return out;
}

}  // namespace lsd::testing
