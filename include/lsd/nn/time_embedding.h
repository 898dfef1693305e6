// SPDX-License-Identifier: Apache-2.0
#pragma once
// Conditioning on time: sinusoidal features -> linear -> SiLU -> linear -> SiLU, one row per sequence.

#include <cstdint>
#include <string>

#include "lsd/nn/linear.h"

namespace lsd::nn {

class TimeEmbedding {
 public:
  struct Saved {
    TensorView features;                              // [max_sequences, features]
    TensorView hidden_pre, hidden, conditioning_pre;  // [max_sequences, width]
  };

  TimeEmbedding() = default;
  TimeEmbedding(ParameterStore& store, const std::string& name, std::int64_t features, std::int64_t width);

  // time float32 [max_sequences] -> conditioning [max_sequences, width].
  void forward(StepContext& step, ConstTensorView time, TensorView conditioning, Saved& saved) const;
  void backward(StepContext& step, ConstTensorView grad_conditioning, const Saved& saved) const;

 private:
  Linear first_, second_;
  std::int64_t features_ = 0, width_ = 0;
};

}  // namespace lsd::nn
