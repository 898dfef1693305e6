// SPDX-License-Identifier: Apache-2.0
#pragma once
// One gradient of a probe head, for training and for the finite-difference test.

#include <cstdint>
#include <span>
#include <vector>

#include "lsd/tasks/probe_head.h"

namespace lsd::tasks {

// Targets of one mini-batch: class numbers, or values of a regression (exactly one of them is filled).
struct HeadTargets {
  std::vector<std::int64_t> classes;
  std::vector<float> values;
};

// x is [rows, inputs] of standardised features. Outputs [rows, outputs of the last layer].
std::vector<float> head_forward(const std::vector<DenseLayer>& layers, std::span<const float> x, std::int64_t rows);
// Mean cross-entropy or mean squared error; `gradients` has the layers' shapes and is overwritten.
double head_loss(const std::vector<DenseLayer>& layers, std::span<const float> x, const HeadTargets& targets,
                 std::vector<DenseLayer>& gradients);

}  // namespace lsd::tasks
