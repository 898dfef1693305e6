// SPDX-License-Identifier: Apache-2.0
#pragma once
// Full (not causal) attention within each packed sequence, rotary positions applied to q and k inside.
//
// qkv [rows, 3 * width] holds q | k | v, each [heads, head_width] along the columns. With p = row_position,
//   rotate(u)_i           = u_i cos(p f_i) - u_{i + h/2} sin(p f_i)
//   rotate(u)_{i + h/2}   = u_{i + h/2} cos(p f_i) + u_i sin(p f_i),   f_i = theta^(-2 i / h), i < h/2, h = head_width
// (Su et al., RoFormer, 2021; the half-split layout of ESM-2; f_i may be rounded, see Rotary), and
//   out = softmax(rotate(q) rotate(k)^T / sqrt(h)) v.
// Angles are computed from the integer position in at least float32, so sequences of 36,000 tokens are accurate.

#include "lsd/tensor/op_family.h"
#include "lsd/tensor/packed_layout.h"

namespace lsd {

struct Rotary {
  float theta = 10000.0F;
  bool float16 = false;  // f_i rounded to float16: what the published ESM-2 models were trained with

  double frequency(std::int64_t i, std::int64_t head_width) const;  // f_i
  bool operator==(const Rotary&) const = default;
};

struct AttentionForward {
  ConstTensorView qkv;  // [rows, 3 * width]
  PackedLayout layout;
  TensorView out;          // [rows, width]; 0 on dead rows
  TensorView log_sum_exp;  // float32 [heads, rows]: ln sum exp of the scaled scores; may be absent (no backward)
  int heads = 1;
  Rotary rotary = {};
};

// Overwrites grad_qkv (0 on dead rows). Recomputes probabilities from log_sum_exp.
struct AttentionBackward {
  ConstTensorView grad_out, qkv, out, log_sum_exp;
  PackedLayout layout;
  TensorView grad_qkv;  // [rows, 3 * width]
  int heads = 1;
  Rotary rotary = {};
};

class AttentionOps : public OpFamily {
 public:
  using OpFamily::OpFamily;
  void run(const AttentionForward& op);
  void run(const AttentionBackward& op);

 private:
  virtual void launch(const AttentionForward& op) = 0;
  virtual void launch(const AttentionBackward& op) = 0;
  virtual std::size_t scratch_bytes(const AttentionForward&) const { return 0; }
  virtual std::size_t scratch_bytes(const AttentionBackward&) const { return 0; }
};

}  // namespace lsd
