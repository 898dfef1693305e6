// SPDX-License-Identifier: Apache-2.0
#include "arithmetic_internal.h"

#include <algorithm>
#include <string_view>

#include "lsd/core/error.h"
#include "lsd/core/philox.h"

namespace lsd::tasks {
namespace {

constexpr int kWarmup = 3, kRepeats = 10;

// Uniform in [-1, 1): constants would let some processors run faster than real numbers do.
DeviceMemory random_matrix(Backend& backend, DType type, std::int64_t count, std::uint32_t seed) {
  auto memory = backend.allocate(static_cast<std::size_t>(count * size_of(type)));
  std::vector<float> floats;
  std::vector<BFloat16> halves;
  for (std::int64_t i = 0; i < count; ++i) {
    const float value = 2.0F * random_uniform({seed, 0}, static_cast<std::uint32_t>(i), 0) - 1.0F;
    if (type == DType::float32)
      floats.push_back(value);
    else
      halves.emplace_back(value);
  }
  const void* host = floats.data();
  if (type != DType::float32) host = halves.data();
  backend.copy_to_device(TensorView(memory.data(), type, Shape{count}, backend.device()), host);
  backend.synchronize();
  return memory;
}

}  // namespace

StepArithmetic count_arithmetic(Backend& backend, const std::vector<std::int64_t>& lengths,
                                const std::function<void()>& step) {
  double squares = 0.0;
  for (const auto length : lengths) squares += static_cast<double>(length) * static_cast<double>(length);
  StepArithmetic sum;
  auto& context = backend.op_context();
  context.count_work = [&](std::string_view, const OpWork& work) {
    const OpWork product{.rows = work.rows, .in = work.in, .out = work.out};
    sum.products += product.operations(0.0);
    sum.attention += work.operations(squares) - product.operations(0.0);
    if (product.operations(0.0) > sum.largest.operations(0.0)) sum.largest = product;
  };
  step();
  context.count_work = nullptr;
  return sum;
}

ProductRate product_rate(Backend& backend, DType type, std::int64_t rows, std::int64_t in, std::int64_t out) {
  ProductRate rate{.rows = rows, .in = in, .out = out};
  try {
    const auto x = random_matrix(backend, type, rows * in, 1), weight = random_matrix(backend, type, in * out, 2);
    const auto y = backend.allocate(static_cast<std::size_t>(rows * out * size_of(type)));
    const auto view = [&](const DeviceMemory& memory, Shape shape) {
      return TensorView(memory.data(), type, shape, backend.device());
    };
    const LinearForward op{.x = view(x, {rows, in}), .weight = view(weight, {out, in}), .y = view(y, {rows, out})};
    backend.set_planning(true);
    backend.matrix().run(op);
    backend.set_planning(false);
    backend.reserve_scratch(backend.planned_scratch_bytes());
    for (int i = 0; i < kWarmup; ++i) backend.matrix().run(op);
    for (int i = 0; i < kRepeats; ++i) {
      backend.record_event(i);
      backend.matrix().run(op);
    }
    backend.record_event(kRepeats);
    backend.wait_for_event(kRepeats);
    double fastest = backend.elapsed_ms(0, 1);
    for (int i = 1; i < kRepeats; ++i) fastest = std::min(fastest, backend.elapsed_ms(i, i + 1));
    const OpWork work{.rows = rows, .in = in, .out = out};
    rate.per_second = work.operations(0.0) / (fastest * 1e-3);
  } catch (const SystemError&) {  // the step fits, this does not
  }
  return rate;
}

}  // namespace lsd::tasks
