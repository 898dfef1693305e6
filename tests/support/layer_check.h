// SPDX-License-Identifier: Apache-2.0
#pragma once
// Gradient check of a layer: the loss is a random weighting of its output, differentiated with respect to its input and
// to each of its parameters.

#include <cstring>

#include "lsd/backends/make_backend.h"
#include "support/model_step.h"

namespace lsd::testing {

struct LayerUnderTest {
  nn::ParameterStore& store;
  Shape x_shape, y_shape;
  std::function<void(nn::StepContext&, ConstTensorView x, TensorView y)> forward;
  // Runs forward too, keeping what it needs; overwrites grad_x.
  std::function<void(nn::StepContext&, ConstTensorView x, ConstTensorView grad_y, TensorView grad_x)> backward;
};

inline TensorView view_of(std::vector<float>& values, Shape shape) {
  return {values.data(), DType::float32, shape};
}

inline void expect_layer_gradients_match(ModelStep& run, const LayerUnderTest& layer,
                                         GradientTolerance tolerance = {}) {
  const auto x_count = static_cast<std::size_t>(layer.x_shape.elements());
  const auto y_count = static_cast<std::size_t>(layer.y_shape.elements());
  auto x = random_values(x_count, 1.0F, 1), y = std::vector<float>(y_count),
       grad_x = std::vector<float>(x_count, 99.0F);
  auto weights = random_values(y_count, 1.0F, 2);
  auto step = run.context();
  const auto loss = [&] {
    const ArenaScope scope(step.arena);
    layer.forward(step, view_of(x, layer.x_shape), view_of(y, layer.y_shape));
    double sum = 0.0;
    for (std::size_t i = 0; i < y_count; ++i) sum += static_cast<double>(weights[i]) * y[i];
    return sum;
  };
  {
    const ArenaScope scope(step.arena);
    layer.backward(step, view_of(x, layer.x_shape), view_of(weights, layer.y_shape), view_of(grad_x, layer.x_shape));
  }
  expect_gradient_matches("x", x, grad_x, loss, tolerance);
  expect_parameter_gradients_match(layer.store, loss, tolerance);
}

}  // namespace lsd::testing
