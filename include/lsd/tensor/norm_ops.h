// SPDX-License-Identifier: Apache-2.0
#pragma once
// Layer norms fused with the residual addition in front of them. Statistics are float32, variance with 1/width.
// They are those of the sum as it is stored, so that backward, which reads it back, sees the same numbers.
// The residual stream (x, sum, grad_sum, grad_x) may be float32 while y, delta and their gradients are bfloat16.

#include "lsd/tensor/op_family.h"
#include "lsd/tensor/view.h"

namespace lsd {

// sum = x + delta (sum = x, and not written, when delta is absent)
// y = (sum - mean) * inv_std * gain + bias, row by row.
struct NormForward {
  ConstTensorView x, delta;    // [rows, width], delta may be absent
  ConstTensorView gain, bias;  // [width]
  TensorView sum;              // [rows, width], x's type; present exactly when delta is
  TensorView y;                // [rows, width], activation type
  TensorView mean, inv_std;    // [rows] float32; inv_std = 1 / sqrt(variance + epsilon)
  float epsilon = 1e-5F;
};

// grad_x = norm's gradient with respect to sum, + grad_sum when present (what reached the residual stream behind it).
// The same grad_x is the gradient of delta. grad_gain, grad_bias are accumulated.
struct NormBackward {
  ConstTensorView grad_y, sum, gain;  // [rows, width] x2, [width]
  ConstTensorView mean, inv_std;      // [rows]
  ConstTensorView grad_sum;           // [rows, width] or absent; the stream's type
  TensorView grad_x;                  // [rows, width], the stream's type
  TensorView grad_gain, grad_bias;    // [width] float32
};

// Adaptive layer norm (Peebles & Xie, "DiT", 2023): conditioning enters as one row of `modulation` per sequence.
// A modulation tensor is [sequences, chunks * width]; chunk k of it is columns [k * width, (k + 1) * width).
//   sum = x + gate[s] * delta        (sum = x, and not written, when delta is absent)
//   y = norm(sum) * (1 + scale[s]) + shift[s],  s = row_sequence[row]; norm without gain and bias.
// Dead rows (row_sequence -1) use gate, scale and shift 0.
struct AdaptiveNormForward {
  ConstTensorView x, delta;          // [rows, width]
  ConstTensorView gate_modulation;   // [sequences, chunks * width]; present exactly when delta is
  ConstTensorView modulation;        // [sequences, chunks' * width]; may be the same tensor
  ConstTensorView row_sequence;      // int32 [rows]
  TensorView sum, y, mean, inv_std;  // as NormForward
  int gate_chunk = 0, shift_chunk = 0, scale_chunk = 0;
  float epsilon = 1e-5F;
};

// grad_x = gradient with respect to sum (norm's part + grad_sum when present); grad_delta = gate[s] * grad_x.
// Overwrites the named chunks of grad_modulation and grad_gate_modulation for all sequences (0 for absent ones),
// and touches no other column.
struct AdaptiveNormBackward {
  ConstTensorView grad_y, sum, mean, inv_std;
  ConstTensorView grad_sum;                           // [rows, width] or absent
  ConstTensorView delta, gate_modulation;             // as forward
  ConstTensorView modulation, row_sequence, offsets;  // offsets int32 [sequences + 1]
  TensorView grad_x, grad_delta;                      // [rows, width]; grad_delta present exactly when delta is
  TensorView grad_modulation, grad_gate_modulation;   // activation type, shapes of the modulations
  int gate_chunk = 0, shift_chunk = 0, scale_chunk = 0;
};

class NormOps : public OpFamily {
 public:
  using OpFamily::OpFamily;
  void run(const NormForward& op);
  void run(const NormBackward& op);
  void run(const AdaptiveNormForward& op);
  void run(const AdaptiveNormBackward& op);

 private:
  virtual void launch(const NormForward& op) = 0;
  virtual void launch(const NormBackward& op) = 0;
  virtual void launch(const AdaptiveNormForward& op) = 0;
  virtual void launch(const AdaptiveNormBackward& op) = 0;
  virtual std::size_t scratch_bytes(const NormForward&) const { return 0; }
  virtual std::size_t scratch_bytes(const NormBackward&) const { return 0; }
  virtual std::size_t scratch_bytes(const AdaptiveNormForward&) const { return 0; }
  virtual std::size_t scratch_bytes(const AdaptiveNormBackward&) const { return 0; }
};

}  // namespace lsd
