// SPDX-License-Identifier: Apache-2.0
#include "host_copies_internal.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "lsd/core/error.h"

namespace lsd::backends::checked {
namespace {

// Largest difference accepted, as a ratio of Euclidean norms of a whole tensor. Sums of a real step may cancel, so
// these stand above what the backends' tests ask for on random operands.
double allowed_ratio(DType type) {
  return type == DType::bfloat16 ? 2e-2 : 1e-3;
}

std::vector<double> numbers_of(const void* data, DType type, std::int64_t count) {
  std::vector<double> out(static_cast<std::size_t>(count));
  const ConstTensorView view(data, type, {count});
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (type == DType::bfloat16)
      out[i] = static_cast<double>(static_cast<float>(view.data<BFloat16>()[i]));
    else if (type == DType::int32)
      out[i] = view.data<std::int32_t>()[i];
    else
      out[i] = static_cast<double>(view.data<float>()[i]);
  }
  return out;
}

void compare_one(std::string_view op, const char* name, const std::vector<double>& actual,
                 const std::vector<double>& expected, DType type) {
  double difference = 0.0, total = 0.0;
  std::size_t worst = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double d = actual[i] - expected[i];
    difference += d * d;
    total += expected[i] * expected[i];
    if (!(std::abs(d) <= std::abs(actual[worst] - expected[worst]))) worst = i;
  }
  const double ratio = std::sqrt(difference) / std::max(std::sqrt(total), 1e-30);
  if (difference == 0.0 || ratio <= allowed_ratio(type)) return;
  throw InternalError(std::string(op) + ": operand " + name + " differs from the reference by a norm ratio of " +
                      std::to_string(ratio) + " (allowed " + std::to_string(allowed_ratio(type)) +
                      "); worst at element " + std::to_string(worst) + ": " + std::to_string(actual[worst]) +
                      " instead of " + std::to_string(expected[worst]));
}

}  // namespace

void HostCopies::out(const char* name, TensorView& view) {
  if (!view.present()) return;
  const auto original = view;
  view = copy_of(view);
  outputs_.push_back({name, original, view});
}

void HostCopies::compare(std::string_view op) const {
  for (const auto& [name, original, expected] : outputs_) {
    std::vector<std::byte> bytes(static_cast<std::size_t>(original.bytes()));
    from_.copy_to_host(bytes.data(), original);
    from_.synchronize();
    compare_one(op, name, numbers_of(bytes.data(), original.dtype(), original.elements()),
                numbers_of(expected.raw(), original.dtype(), original.elements()), original.dtype());
  }
}

TensorView HostCopies::copy_of(ConstTensorView view) {
  if (!view.present()) return {};
  auto& memory = copies_[{view.raw(), view.bytes()}];
  if (memory.data() == nullptr) {
    memory = host_.allocate(static_cast<std::size_t>(view.bytes()));
    from_.copy_to_host(memory.data(), view);
    from_.synchronize();
  }
  return {memory.data(), view.dtype(), view.shape(), Device::host};
}

}  // namespace lsd::backends::checked
