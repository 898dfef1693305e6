// SPDX-License-Identifier: Apache-2.0
#pragma once
// Losses: value and gradient in one pass, nothing of the size of the logits stored besides the gradient.
// `scale` is one float32 in device memory (1/N of the global batch, or 1), so that a captured graph sees new values.
// Sums are accumulated into float32 slots, in a fixed order (deterministic on every backend in deterministic mode).

#include "lsd/tensor/op_family.h"
#include "lsd/tensor/view.h"

namespace lsd {

// CE_r = ln sum_k exp(logits[r, k]) - logits[r, target_r], over rows with target_r >= 0.
//   grad_logits[r] = scale * weight_r * (softmax(logits[r]) - onehot(target_r)); 0 on other rows
//   loss_sum += sum_r weight_r CE_r;  unweighted_sum += sum_r CE_r;  correct += #(argmax = target), lowest index on
//   ties.
// weight_r = sin^2(pi row_time[r] / 2) when row_time is present (LSD-NM), else 1.
struct CrossEntropy {
  ConstTensorView logits;    // [rows, vocab], float32 or activation type
  ConstTensorView targets;   // int32 [rows], -1 = not in the loss
  ConstTensorView row_time;  // float32 [rows] or absent
  ConstTensorView scale;     // float32 [1]
  TensorView grad_logits;    // logits' shape; absent when only evaluating; may share memory with logits
  TensorView loss_sum, unweighted_sum, correct;  // float32 [1] each, accumulated
};

// e_r = sum_c (prediction - target)^2 over rows with row_mask[r] != 0 (residues only); s = row_sequence[r]
//   grad_prediction = scale * weight[s] * 2 (prediction - target) / width; 0 on other rows
//   sequence_loss[s] = mean of e_r / width over the sequence's counted rows (0 when it has none): unweighted
//   loss_sum += sum_r weight[s] e_r / width;  unweighted_sum += sum_r e_r / width.
struct SquaredError {
  ConstTensorView prediction, target;               // [rows, width]
  ConstTensorView row_mask, row_sequence, offsets;  // uint8 [rows], int32 [rows], int32 [max_sequences + 1]
  ConstTensorView weight, scale;                    // float32 [max_sequences], float32 [1]
  TensorView grad_prediction;                       // absent when only evaluating
  TensorView sequence_loss;                         // float32 [max_sequences]
  TensorView loss_sum, unweighted_sum;              // float32 [1] each, accumulated
};

class LossOps : public OpFamily {
 public:
  using OpFamily::OpFamily;
  void run(const CrossEntropy& op);
  void run(const SquaredError& op);

 private:
  virtual void launch(const CrossEntropy& op) = 0;
  virtual void launch(const SquaredError& op) = 0;
  virtual std::size_t scratch_bytes(const CrossEntropy&) const { return 0; }
  virtual std::size_t scratch_bytes(const SquaredError&) const { return 0; }
};

}  // namespace lsd
