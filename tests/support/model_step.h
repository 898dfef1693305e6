// SPDX-License-Identifier: Apache-2.0
#pragma once
// The surroundings of a model or layer in a test: an arena, step scalars, metric slots, and gradient checks.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "lsd/nn/parameter_store.h"
#include "lsd/nn/step_context.h"

namespace lsd::testing {

class ModelStep {
 public:
  explicit ModelStep(Backend& backend, std::size_t arena_bytes = std::size_t{64} << 20U)
      : backend_(backend), arena_(backend.allocate(arena_bytes), backend.device()), scalars_(view(scalar_values_)) {
    backend.reserve_scratch(std::size_t{16} << 20U);
    scalars_.set(StepScalars::loss_scale, 1.0F);
    scalars_.upload(backend);
  }

  nn::StepContext context() {
    return {.backend = backend_,
            .arena = arena_,
            .scalars = scalars_,
            .hooks = hooks,
            .seed = seed,
            .activation = activation,
            .residual = residual,
            .recompute = recompute,
            .metrics = view(metrics)};
  }
  void set_loss_scale(float scale) {
    scalars_.set(StepScalars::loss_scale, scale);
    scalars_.upload(backend_);
  }
  Backend& backend() { return backend_; }
  Arena& arena() { return arena_; }
  StepScalars& scalars() { return scalars_; }

  nn::StepHooks* hooks = nullptr;
  std::uint32_t seed = 7;
  DType activation = DType::float32, residual = DType::float32;
  nn::Recompute recompute = nn::Recompute::none;
  std::vector<float> metrics = std::vector<float>(16, 0.0F);

 private:
  static TensorView view(std::vector<float>& values) {
    return {values.data(), DType::float32, Shape{static_cast<std::int64_t>(values.size())}};
  }
  std::vector<float> scalar_values_ = std::vector<float>(StepScalars::kSlots, 0.0F);
  Backend& backend_;
  Arena arena_;
  StepScalars scalars_;
};

inline std::vector<float> random_values(std::size_t count, float deviation, std::uint32_t seed) {
  std::mt19937 generator(seed);
  std::uniform_real_distribution<float> uniform(-1.732F * deviation, 1.732F * deviation);
  std::vector<float> values(count);
  for (auto& value : values) value = uniform(generator);
  return values;
}

// Random values everywhere, gains near 1, so that no gradient vanishes by the choice of initial values. Rounded to the
// store's compute type.
inline void randomise(nn::ParameterStore& store, float deviation, std::uint32_t seed) {
  const TensorView block = store.compute_block();
  visit_dtype(block.dtype(), [&]<class T>(TypeTag<T>) {
    auto values = block.span<T>();
    for (const auto& info : store.infos()) {
      const auto random = random_values(static_cast<std::size_t>(info.shape.elements()), deviation, seed++);
      const float centre = info.init.kind == nn::Init::Kind::ones ? 1.0F : 0.0F;
      for (std::size_t i = 0; i < random.size(); ++i)
        values[static_cast<std::size_t>(info.offset) + i] = T(centre + random[i]);
    }
  });
}

struct GradientTolerance {
  double step = 2e-3;      // along a direction of unit root mean square, in units of the values' own scale
  double relative = 2e-3;  // of the derivative along the gradient itself
};

// Compares `gradient` with differences of `loss` along the gradient's own direction and two random ones. Differences
// are of fourth order, so that a float32 loss allows a step large enough to rise above its rounding.
inline void expect_gradient_matches(const std::string& name, std::span<float> values, std::span<const float> gradient,
                                    const std::function<double()>& loss, GradientTolerance tolerance = {}) {
  double norm = 0.0;
  for (const float g : gradient) norm += static_cast<double>(g) * g;
  norm = std::sqrt(norm);
  ASSERT_GT(norm, 0.0) << name << ": the gradient is zero";
  const auto root = std::sqrt(static_cast<double>(values.size()));
  for (int which = 0; which < 3; ++which) {
    std::vector<double> direction(gradient.begin(), gradient.end());
    if (which > 0) {
      const auto random = random_values(values.size(), 1.0F, 40U + static_cast<std::uint32_t>(which));
      direction.assign(random.begin(), random.end());
    }
    double length = 0.0, expected = 0.0;
    for (const double d : direction) length += d * d;
    length = std::sqrt(length);
    for (std::size_t i = 0; i < direction.size(); ++i) expected += (direction[i] /= length) * gradient[i];
    const std::vector<float> start(values.begin(), values.end());
    const double step = tolerance.step * root;
    const auto at = [&](double distance) {
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<float>(start[i] + distance * direction[i]);
      return loss();
    };
    const double near = at(step) - at(-step), far = at(2 * step) - at(-2 * step);
    std::copy(start.begin(), start.end(), values.begin());
    EXPECT_NEAR((8 * near - far) / (12 * step), expected, tolerance.relative * norm) << name << ", direction " << which;
  }
}

inline void expect_parameter_gradients_match(nn::ParameterStore& store, const std::function<double()>& loss,
                                             GradientTolerance tolerance = {}) {
  auto values = store.compute_block().span<float>();
  const std::vector<float> gradient(store.grad_block().span<float>().begin(), store.grad_block().span<float>().end());
  for (const auto& info : store.infos()) {
    const auto begin = static_cast<std::size_t>(info.offset), count = static_cast<std::size_t>(info.shape.elements());
    expect_gradient_matches(info.name, values.subspan(begin, count), std::span(gradient).subspan(begin, count), loss,
                            tolerance);
  }
}

}  // namespace lsd::testing
