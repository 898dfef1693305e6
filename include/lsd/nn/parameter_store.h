// SPDX-License-Identifier: Apache-2.0
#pragma once
// All parameters of a model as one contiguous block, in registration order, each starting at a multiple of 64 elements.
// Layers see Parameter{compute, grad}; float32 masters, moments and the moving average belong to the optimizer as flat
// blocks with the same offsets, whole on one rank or sliced, which changes nothing here.

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "lsd/tensor/backend.h"

namespace lsd::nn {

struct Parameter {
  TensorView compute;  // what products and norms read: activation type
  TensorView grad;     // float32 sums, accumulated by backward; absent in a store without gradients
};

struct Init {
  enum class Kind { zeros, ones, normal } kind = Kind::zeros;
  float deviation = 0.0F;  // of the normal
};

struct ParameterInfo {
  std::string name;  // dotted: "encoder.block.3.attention.qkv.weight"
  Shape shape;
  Init init;
  bool decay = false;       // weight decay applies (products' weights only)
  std::int64_t offset = 0;  // first element in the blocks, a multiple of kAlignment
};

class ParameterStore {
 public:
  static constexpr std::int64_t kAlignment = 64;

  // Registration, before allocate(). The pointer stays valid as long as the store. Names must be new.
  const Parameter* add(std::string name, Shape shape, Init init, bool decay);

  // Takes memory for compute values and, when asked, gradients (both zeroed). On a planning backend views have no data.
  void allocate(Backend& backend, DType compute_type, bool with_gradients);

  const std::vector<ParameterInfo>& infos() const { return infos_; }
  std::int64_t elements() const { return elements_; }          // padded, a multiple of kAlignment
  std::int64_t count() const;                                  // without padding
  const ParameterInfo* find(std::string_view name) const;      // nullptr when there is none
  TensorView compute_block() const { return compute_block_; }  // [elements()]
  TensorView grad_block() const { return grad_block_; }        // float32 [elements()]
  std::vector<std::uint8_t> decay_blocks() const;              // one per 64 elements
  // Initial float32 values of the whole block: a pure function of seed and parameter names. Padding is 0.
  std::vector<float> initial_values(std::uint32_t seed) const;

 private:
  std::vector<ParameterInfo> infos_;
  std::deque<Parameter> parameters_;
  std::int64_t elements_ = 0;
  DeviceMemory compute_memory_, grad_memory_;
  TensorView compute_block_, grad_block_;
};

}  // namespace lsd::nn
