// SPDX-License-Identifier: Apache-2.0
#include "lsd/nn/parameter_store.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>

#include "lsd/core/error.h"
#include "lsd/core/philox.h"

namespace lsd::nn {
namespace {

// FNV-1a: the visit coordinate of a parameter's initial values, so that adding a parameter moves no other one's.
std::uint64_t hash_of(std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325U;
  for (const char letter : name) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001B3U;
  return hash;
}

void fill_normal(std::span<float> values, float deviation, std::uint32_t seed, std::uint64_t visit) {
  const auto key = random_key(seed, RandomStream::init);
  for (std::size_t i = 0; i < values.size(); i += 2) {
    const auto element = static_cast<std::uint32_t>(i);
    const double u0 = random_uniform(key, element, visit), u1 = random_uniform(key, element + 1, visit);
    const double radius = std::sqrt(-2.0 * std::log(u0)) * deviation, angle = 2.0 * std::numbers::pi * u1;
    values[i] = static_cast<float>(radius * std::cos(angle));
    if (i + 1 < values.size()) values[i + 1] = static_cast<float>(radius * std::sin(angle));
  }
}

}  // namespace

const Parameter* ParameterStore::add(std::string name, Shape shape, Init init, bool decay) {
  check(!compute_block_.present(), "parameters are registered before the store is allocated");
  check(find(name) == nullptr, "parameter names are unique");
  check(shape.elements() > 0, "a parameter has elements");
  const auto padded = (shape.elements() + kAlignment - 1) / kAlignment * kAlignment;
  infos_.push_back({std::move(name), shape, init, decay, elements_});
  elements_ += padded;
  return &parameters_.emplace_back();
}

void ParameterStore::allocate(Backend& backend, DType compute_type, bool with_gradients) {
  const auto block = [&](DeviceMemory& memory, DType type) {
    memory = backend.allocate(static_cast<std::size_t>(elements_ * size_of(type)));
    TensorView view(memory.data(), type, Shape{elements_}, backend.device());
    backend.pointwise().run(Fill{.y = view, .value = 0.0F});
    return view;
  };
  compute_block_ = block(compute_memory_, compute_type);
  if (with_gradients) grad_block_ = block(grad_memory_, DType::float32);
  for (std::size_t i = 0; i < infos_.size(); ++i) {
    const auto& info = infos_[i];
    const auto part = [&info](TensorView whole) {
      return whole.slice(info.offset, info.shape.elements()).reshaped(info.shape);
    };
    parameters_[i].compute = part(compute_block_);
    if (with_gradients) parameters_[i].grad = part(grad_block_);
  }
}

std::int64_t ParameterStore::count() const {
  std::int64_t sum = 0;
  for (const auto& info : infos_) sum += info.shape.elements();
  return sum;
}

const ParameterInfo* ParameterStore::find(std::string_view name) const {
  const auto found = std::ranges::find(infos_, name, &ParameterInfo::name);
  return found == infos_.end() ? nullptr : &*found;
}

std::vector<std::uint8_t> ParameterStore::decay_blocks() const {
  std::vector<std::uint8_t> blocks(static_cast<std::size_t>(elements_ / kAlignment), 0);
  for (const auto& info : infos_) {
    const auto begin = info.offset / kAlignment;
    const auto end = (info.offset + info.shape.elements() + kAlignment - 1) / kAlignment;
    for (auto block = begin; block < end; ++block) blocks[static_cast<std::size_t>(block)] = info.decay ? 1 : 0;
  }
  return blocks;
}

std::vector<float> ParameterStore::initial_values(std::uint32_t seed) const {
  std::vector<float> values(static_cast<std::size_t>(elements_), 0.0F);
  for (const auto& info : infos_) {
    const auto part = std::span(values).subspan(static_cast<std::size_t>(info.offset),
                                                static_cast<std::size_t>(info.shape.elements()));
    if (info.init.kind == Init::Kind::ones) std::ranges::fill(part, 1.0F);
    if (info.init.kind == Init::Kind::normal) fill_normal(part, info.init.deviation, seed, hash_of(info.name));
  }
  return values;
}

}  // namespace lsd::nn
