// SPDX-License-Identifier: Apache-2.0
#pragma once
// Blocks and the final norm: the encoder, the decoder, and (adaptive) the denoiser.

#include <memory>
#include <string>
#include <vector>

#include "lsd/nn/adaptive_norm.h"
#include "lsd/nn/transformer_block.h"

namespace lsd::nn {

class ConditioningGradient;

// Elements [begin, end) of the parameter block that one part of a model registered.
struct ParameterRange {
  std::int64_t begin = 0, end = 0;
};
void report_final(StepContext& step, ParameterRange range);

class TransformerStack {
 public:
  struct Saved {
    Keep keep = Keep::nothing;
    std::vector<TransformerBlock::Saved> blocks;
    NormSaved norm;
    ConstTensorView last_delta;           // adaptive only
    std::vector<TensorView> modulations;  // adaptive only: one per block, [max_sequences, 6 * width], and the final one
  };

  TransformerStack(ParameterStore& store, const std::string& name, const StackShape& shape);

  // y [rows, width] (activation type) = final norm of the blocks' result on x [rows, width] (the stream's type).
  // conditioning [max_sequences, width] is present exactly in an adaptive stack. Without `saved` nothing stays in the
  // arena; with it, what it names does, and x must stay as it is until backward.
  void forward(StepContext& step, const PackedLayout& layout, ConstTensorView conditioning, ConstTensorView x,
               TensorView y, Saved* saved) const;
  // grad_x in the stream's type; grad_conditioning (adaptive) in the activation type. Tells step.hooks which
  // parameters' gradients are final, block by block from the last.
  void backward(StepContext& step, const PackedLayout& layout, ConstTensorView conditioning, ConstTensorView grad_y,
                const Saved& saved, TensorView grad_x, TensorView grad_conditioning) const;

 private:
  static constexpr int kFinalChunks = 2;  // shift, scale
  void make_modulations(StepContext& step, ConstTensorView conditioning, Saved& saved) const;
  Modulation modulation_of(const Saved& saved, std::size_t block) const;
  AdaptiveNorm final_site(const Saved& saved) const;
  struct FinalGradients {
    TensorView sum, delta, gate_modulation;  // of the pair that the last block left, and of its modulation's gate
  };
  void final_backward(StepContext& step, const PackedLayout& layout, ConstTensorView conditioning,
                      ConstTensorView grad_y, const Saved& saved, const FinalGradients& to,
                      ConditioningGradient& sum_of_conditioning) const;

  StackShape shape_;
  std::vector<TransformerBlock> blocks_;
  LayerNorm norm_;
  Linear final_modulation_;
  std::vector<ParameterRange> block_ranges_;
  ParameterRange final_range_;
};

}  // namespace lsd::nn
