// SPDX-License-Identifier: Apache-2.0
#pragma once
// Linear layers: y = act(x W^T + b), W stored [out, in] as PyTorch does. Products accumulate in float32.
// Where grad_y is float32 and the other operands are bfloat16, grad_y is rounded to bfloat16 before it is multiplied.

#include "lsd/tensor/op_family.h"
#include "lsd/tensor/view.h"

namespace lsd {

enum class Gelu : std::uint8_t { none, erf, tanh };  // erf: x Phi(x); tanh: Hendrycks & Gimpel's approximation

// pre = x weight^T + bias;  y = gelu(pre), or pre when gelu is none.
struct LinearForward {
  ConstTensorView x, weight, bias;  // [rows, in], [out, in], [out] or absent; one activation type
  TensorView y;                     // [rows, out], activation type or float32
  TensorView pre_activation;        // [rows, out], y's type; present exactly when gelu != none
  Gelu gelu = Gelu::none;
};

// grad_x = grad_y weight; times gelu'(gelu_input) when the layer's input was gelu(gelu_input). Overwrites grad_x.
struct LinearBackwardInput {
  ConstTensorView grad_y, weight;  // [rows, out], [out, in]
  ConstTensorView gelu_input;      // [rows, in] or absent
  TensorView grad_x;               // [rows, in]
  Gelu gelu = Gelu::none;          // none exactly when gelu_input is absent
};

// grad_weight += grad_y^T x;  grad_bias += column sums of grad_y. Both float32. grad_y may be float32 where x is
// bfloat16.
struct LinearBackwardWeight {
  ConstTensorView grad_y, x;          // [rows, out], [rows, in]
  TensorView grad_weight, grad_bias;  // [out, in], [out] or absent
};

class MatrixOps : public OpFamily {
 public:
  using OpFamily::OpFamily;
  void run(const LinearForward& op);
  void run(const LinearBackwardInput& op);
  void run(const LinearBackwardWeight& op);

 private:
  virtual void launch(const LinearForward& op) = 0;
  virtual void launch(const LinearBackwardInput& op) = 0;
  virtual void launch(const LinearBackwardWeight& op) = 0;
  virtual std::size_t scratch_bytes(const LinearForward&) const { return 0; }
  virtual std::size_t scratch_bytes(const LinearBackwardInput&) const { return 0; }
  virtual std::size_t scratch_bytes(const LinearBackwardWeight&) const { return 0; }
};

}  // namespace lsd
