// SPDX-License-Identifier: Apache-2.0
#pragma once
// Pre-norm transformer block. The residual addition of each sublayer happens inside the next norm, so a block takes the
// stream `x` and the sublayer output `delta` that is still to be added, and leaves another such pair:
//   sum1 = x + delta;      mid   = attention(norm1(sum1))
//   sum2 = sum1 + mid;     delta = feed_forward(norm2(sum2)),  x = sum2
// An adaptive block (Peebles & Xie, "DiT", 2023) has no gains: six chunks of a modulation per sequence, a linear map of
// the conditioning, scale and shift both norms and gate both additions. The gate of the feed-forward's output therefore
// acts in the next block's first norm.

#include <cstdint>
#include <string>

#include "lsd/nn/attention.h"
#include "lsd/nn/feed_forward.h"
#include "lsd/nn/layer_norm.h"

namespace lsd::nn {

// What forward leaves for backward. `nothing` is inference; the others follow Recompute.
enum class Keep : std::uint8_t { nothing, input, products, everything };
Keep keep_for(Recompute recompute);

struct StackShape {
  std::int64_t width = 0, heads = 1, layers = 1;
  Gelu gelu = Gelu::tanh;
  bool adaptive = false;
  Rotary rotary = {};
};

// The stream between blocks. `x` and `delta` change from block to block; `delta` is absent in front of the first one.
struct Stream {
  ConstTensorView x, delta;
  TensorView delta_out;       // where the next block writes; may be delta's own memory
  TensorView spare1, spare2;  // for sums that are not kept; x may be spare2, never spare1
};

// Modulations [max_sequences, 6 * width] of an adaptive block and of the one in front of it (absent for the first).
struct Modulation {
  ConstTensorView own, previous;
  TensorView grad_own, grad_previous;
};

class TransformerBlock {
 public:
  static constexpr int kChunks = 6;  // shift, scale, gate of the attention; shift, scale, gate of the feed-forward
  static constexpr int kFeedForwardGate = 5;

  struct Saved {
    NormSaved norm1, norm2;
    TensorView y1, y2;              // norms' outputs
    ConstTensorView delta_in, mid;  // adaptive only: what the gates multiplied
    Attention::Saved attention;
    FeedForward::Saved feed_forward;
  };

  TransformerBlock(ParameterStore& store, const std::string& name, const StackShape& shape);

  void forward(StepContext& step, const PackedLayout& layout, const Modulation& modulation, Stream& stream, Keep keep,
               Saved& saved) const;
  // grad_sum, grad_delta: gradients of the pair that forward left (one tensor in a plain block). Writes those of the
  // pair it took: grad_x in the stream's type, and in an adaptive block with a delta, grad_delta_in.
  void backward(StepContext& step, const PackedLayout& layout, const Modulation& modulation, ConstTensorView grad_sum,
                ConstTensorView grad_delta, const Saved& saved, Keep keep, TensorView grad_x,
                TensorView grad_delta_in) const;

  // The modulation of a block, and the way back: parameters' gradients and grad_conditioning.
  void modulate(StepContext& step, ConstTensorView conditioning, TensorView modulation) const;
  void modulate_backward(StepContext& step, ConstTensorView grad_modulation, ConstTensorView conditioning,
                         TensorView grad_conditioning) const;

 private:
  void attention_half(StepContext& step, const PackedLayout& layout, const Modulation& modulation, const Stream& in,
                      TensorView sum, TensorView mid, Keep keep, Saved& saved) const;
  void feed_forward_half(StepContext& step, const PackedLayout& layout, const Modulation& modulation, const Stream& in,
                         TensorView sum, TensorView out, Keep keep, Saved& saved) const;
  Saved recompute(StepContext& step, const PackedLayout& layout, const Modulation& modulation,
                  const Saved& saved) const;
  void norm_forward(StepContext& step, const PackedLayout& layout, const Modulation& modulation, int which,
                    const Stream& in, TensorView sum, TensorView y, NormSaved& saved) const;
  void norm_backward(StepContext& step, const PackedLayout& layout, const Modulation& modulation, int which,
                     ConstTensorView grad_y, const NormSaved& saved, ConstTensorView grad_sum, ConstTensorView delta,
                     TensorView grad_x, TensorView grad_delta) const;
  TensorView normed_again(StepContext& step, const PackedLayout& layout, const Modulation& modulation, int which,
                          TensorView kept, const NormSaved& saved) const;

  std::int64_t width_;
  bool adaptive_;
  LayerNorm norm1_, norm2_;
  Attention attention_;
  FeedForward feed_forward_;
  Linear modulation_;
};

}  // namespace lsd::nn
