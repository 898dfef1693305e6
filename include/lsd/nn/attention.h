// SPDX-License-Identifier: Apache-2.0
#pragma once
// Self-attention sublayer: qkv map, attention within each packed sequence with rotary positions, output map.

#include <cstdint>
#include <string>

#include "lsd/nn/linear.h"
#include "lsd/tensor/attention_ops.h"

namespace lsd::nn {

class Attention {
 public:
  struct Saved {
    TensorView qkv;          // [rows, 3 * width]
    TensorView log_sum_exp;  // float32 [heads, rows]; absent when nothing goes backward
    TensorView mixed;        // [rows, width]: what the output map reads
  };

  Attention() = default;
  Attention(ParameterStore& store, const std::string& name, std::int64_t width, std::int64_t heads, Init out_init,
            const Rotary& rotary = {});

  Saved allocate(StepContext& step, std::int64_t rows, bool for_backward) const;
  // x [rows, width] -> y [rows, width], through `saved` from allocate().
  void forward(StepContext& step, const PackedLayout& layout, ConstTensorView x, const Saved& saved,
               TensorView y) const;
  void forward_mixed(StepContext& step, const PackedLayout& layout, ConstTensorView x, const Saved& saved) const;
  void backward(StepContext& step, const PackedLayout& layout, ConstTensorView grad_y, ConstTensorView x,
                const Saved& saved, TensorView grad_x) const;

 private:
  Linear qkv_, out_;
  std::int64_t width_ = 0, heads_ = 1;
  Rotary rotary_;
};

}  // namespace lsd::nn
