// SPDX-License-Identifier: Apache-2.0
#pragma once
// One operation with its operands, made alike on any backend: the same list of cases serves the comparison of backends
// and the benchmark. Inputs are random but depend only on seed and name; outputs start as NaN, so that what an op
// forgets to write shows.

#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <numbers>
#include <string>
#include <vector>

#include "lsd/core/philox.h"
#include "lsd/tensor/backend.h"
#include "lsd/tensor/step_scalars.h"

namespace lsd::testing {

// Float32 copy of a tensor of any floating type, or of integers.
inline std::vector<float> to_floats(const std::vector<std::byte>& bytes, DType type) {
  std::vector<float> out(bytes.size() / static_cast<std::size_t>(size_of(type)));
  for (std::size_t i = 0; i < out.size(); ++i) {
    const auto* at = bytes.data() + i * static_cast<std::size_t>(size_of(type));
    if (type == DType::float32) std::memcpy(&out[i], at, sizeof(float));
    if (type == DType::bfloat16) {
      BFloat16 value;
      std::memcpy(&value, at, sizeof value);
      out[i] = static_cast<float>(value);
    }
    if (type == DType::int32) {
      std::int32_t value = 0;
      std::memcpy(&value, at, sizeof value);
      out[i] = static_cast<float>(value);
    }
  }
  return out;
}

// Operands of one op on one backend.
class Operands {
 public:
  Operands(Backend& backend, DType activation, std::uint32_t seed)
      : backend_(&backend), activation_(activation), seed_(seed) {}

  Backend& backend() { return *backend_; }
  DType activation() const { return activation_; }

  // Standard normals times `deviation`, plus `mean`.
  ConstTensorView normal(const std::string& name, DType type, Shape shape, double deviation = 1.0, double mean = 0.0) {
    return place(
        name, type, shape, [&](std::uint32_t i) { return mean + deviation * normal_draw(name, i); }, Role::input);
  }
  ConstTensorView uniform(const std::string& name, Shape shape, double low = 0.0, double high = 1.0) {
    return place(
        name, DType::float32, shape, [&](std::uint32_t i) { return low + (high - low) * uniform_draw(name, i); },
        Role::input);
  }
  template <class T>
  ConstTensorView values(const std::string& name, const std::vector<T>& data, Shape shape) {
    auto view = allocate(name, dtype_of<T>(), shape, Role::input);
    backend_->copy_to_device(view, data.data());
    backend_->synchronize();
    return view;
  }
  template <class T>
  ConstTensorView values(const std::string& name, const std::vector<T>& data) {
    return values(name, data, Shape{static_cast<std::int64_t>(data.size())});
  }
  // Poisoned, compared afterwards.
  TensorView output(const std::string& name, DType type, Shape shape) {
    return place(
        name, type, shape, [](std::uint32_t) { return std::nan(""); }, Role::output);
  }
  // Random before the op, which adds to it or updates it; compared afterwards.
  TensorView updated(const std::string& name, DType type, Shape shape, double deviation = 1.0, double mean = 0.0) {
    const auto draw = [&](std::uint32_t i) { return mean + deviation * normal_draw(name, i); };
    const auto view = place(name, type, shape, draw, Role::output);
    auto& before = operands_.at(name).before;
    for (std::int64_t i = 0; i < shape.elements(); ++i)
      before.push_back(static_cast<float>(draw(static_cast<std::uint32_t>(i))));
    return view;
  }
  // Sequences of these lengths end to end, then dead rows.
  PackedLayout layout(const std::vector<int>& lengths, int dead_rows, int spare_sequences = 2) {
    std::vector<std::int32_t> offsets{0}, row_sequence, row_position, order;
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      for (int p = 0; p < lengths[s]; ++p) {
        row_sequence.push_back(static_cast<std::int32_t>(s));
        row_position.push_back(p);
      }
      offsets.push_back(static_cast<std::int32_t>(row_sequence.size()));
    }
    row_sequence.insert(row_sequence.end(), static_cast<std::size_t>(dead_rows), -1);
    row_position.insert(row_position.end(), static_cast<std::size_t>(dead_rows), 0);
    offsets.insert(offsets.end(), static_cast<std::size_t>(spare_sequences), offsets.back());
    for (std::size_t s = 0; s + 1 < offsets.size(); ++s) order.push_back(static_cast<std::int32_t>(s));
    std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
      return offsets[static_cast<std::size_t>(a) + 1] - offsets[static_cast<std::size_t>(a)] >
             offsets[static_cast<std::size_t>(b) + 1] - offsets[static_cast<std::size_t>(b)];
    });
    return {values("offsets", offsets), values("row_sequence", row_sequence), values("row_position", row_position),
            values("sequence_order", order), *std::max_element(lengths.begin(), lengths.end())};
  }
  // Step scalars as a step in the middle of training would have them.
  ConstTensorView scalars() {
    std::vector<float> host(StepScalars::kSlots, 0.0F);
    host[StepScalars::learning_rate] = 1e-3F;
    host[StepScalars::bias_correction1] = 0.5F;
    host[StepScalars::bias_correction2] = 0.25F;
    host[StepScalars::gradient_scale] = 0.5F;
    host[StepScalars::clip_norm] = 1.0F;
    host[StepScalars::ema_decay] = 0.9F;
    host[StepScalars::loss_scale] = 1.0F / 64.0F;
    return values("scalars", host);
  }

  // What a case says about its cost, for the benchmark.
  double flops = 0.0;

  struct Result {
    DType type;
    std::vector<std::byte> bytes;
    std::vector<float> before;  // what an updated operand held; empty for a plain output
  };
  std::map<std::string, Result> results() {
    std::map<std::string, Result> out;
    for (auto& [name, operand] : operands_)
      if (operand.role == Role::output) {
        Result result{operand.view.dtype(), std::vector<std::byte>(static_cast<std::size_t>(operand.view.bytes())),
                      operand.before};
        backend_->copy_to_host(result.bytes.data(), operand.view);
        backend_->synchronize();
        out.emplace(name, std::move(result));
      }
    return out;
  }
  std::size_t total_bytes() const {
    std::size_t bytes = 0;
    for (const auto& [name, operand] : operands_) bytes += static_cast<std::size_t>(operand.view.bytes());
    return bytes;
  }

 private:
  enum class Role { input, output };
  struct Operand {
    DeviceMemory memory;
    TensorView view;
    Role role;
    std::vector<float> before;
  };

  std::uint32_t key_of(const std::string& name) const {
    std::uint32_t key = 2166136261U;  // FNV-1a
    for (const char c : name) key = (key ^ static_cast<unsigned char>(c)) * 16777619U;
    return key;
  }
  double uniform_draw(const std::string& name, std::uint32_t i) const {
    return static_cast<double>(random_uniform({seed_, key_of(name)}, i, 0));
  }
  double normal_draw(const std::string& name, std::uint32_t i) const {
    const auto words = random_words({seed_, key_of(name)}, i, 1);
    return std::sqrt(-2.0 * std::log(static_cast<double>(uniform_from_word(words.word[0])))) *
           std::cos(2.0 * std::numbers::pi * static_cast<double>(uniform_from_word(words.word[1])));
  }
  TensorView allocate(const std::string& name, DType type, Shape shape, Role role) {
    auto memory = backend_->allocate(static_cast<std::size_t>(shape.elements() * size_of(type)));
    TensorView view(memory.data(), type, shape, backend_->device());
    operands_.insert_or_assign(name, Operand{std::move(memory), view, role, {}});
    return view;
  }
  template <class Draw>
  TensorView place(const std::string& name, DType type, Shape shape, Draw&& draw, Role role) {
    auto view = allocate(name, type, shape, role);
    std::vector<std::byte> host(static_cast<std::size_t>(view.bytes()));
    for (std::int64_t i = 0; i < shape.elements(); ++i) {
      const auto value = static_cast<float>(draw(static_cast<std::uint32_t>(i)));
      const BFloat16 half(value);
      auto* at = host.data() + i * size_of(type);
      if (type == DType::float32) std::memcpy(at, &value, sizeof value);
      if (type == DType::bfloat16) std::memcpy(at, &half, sizeof half);
    }
    backend_->copy_to_device(view, host.data());
    backend_->synchronize();
    return view;
  }

  Backend* backend_;
  DType activation_;
  std::uint32_t seed_;
  std::map<std::string, Operand> operands_;
};

// `make` places the operands and returns what runs the op once.
struct OpCase {
  std::string name;
  std::function<std::function<void()>(Operands&)> make;
};

// Asks the op for its scratch by planning, reserves it and runs.
inline void plan_and_run(Backend& backend, const std::function<void()>& run) {
  backend.set_planning(true);
  run();
  backend.set_planning(false);
  backend.reserve_scratch(backend.planned_scratch_bytes());
  run();
  backend.synchronize();
}

}  // namespace lsd::testing
