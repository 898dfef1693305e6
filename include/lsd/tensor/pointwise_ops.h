// SPDX-License-Identifier: Apache-2.0
#pragma once
// Element-wise work and table look-ups.

#include "lsd/tensor/matrix_ops.h"
#include "lsd/tensor/op_family.h"
#include "lsd/tensor/view.h"

namespace lsd {

// y = value everywhere.
struct Fill {
  TensorView y;  // float32, bfloat16 or int32
  float value = 0.0F;
};

// y = x in y's type (float32 <-> bfloat16), rounded to nearest even.
struct Cast {
  ConstTensorView x;
  TensorView y;
};

// y = gelu(x); for recomputing what LinearForward's epilogue made (equal to it bit for bit on one backend).
struct GeluForward {
  ConstTensorView x;
  TensorView y;
  Gelu gelu = Gelu::tanh;
};

// grad_x = grad_y * gelu'(x): for a GELU that no product follows directly.
struct GeluBackward {
  ConstTensorView grad_y, x;
  TensorView grad_x;
  Gelu gelu = Gelu::erf;
};

// y = x * sigmoid(x).
struct SiluForward {
  ConstTensorView x;
  TensorView y;
};

struct SiluBackward {
  ConstTensorView grad_y, x;
  TensorView grad_x;
};

// y[r] = table[tokens[r]] * row_scale[r]; row_scale (ESM-2's token dropout) may be absent, meaning 1.
struct EmbeddingForward {
  ConstTensorView tokens, table, row_scale;  // int32 [rows], [vocab, width], float32 [rows]
  TensorView y;                              // [rows, width]: the residual stream's type
};

// grad_table[tokens[r]] += grad_y[r] * row_scale[r].
struct EmbeddingBackward {
  ConstTensorView tokens, grad_y, row_scale;
  TensorView grad_table;  // float32 [vocab, width]
};

// y[r, c] = x[r, c] * scale[c] + shift[c]: standardises latents and maps them back.
struct ColumnAffine {
  ConstTensorView x, scale, shift;  // [rows, width], float32 [width] x2
  TensorView y;
};

// out = a x + b y, with a and b read per sequence: coefficients float32 [max_sequences, 2]; dead rows give 0.
// The representations of a diffusion model (v + s z, c v + s z, c z - s v) are of this form.
struct LinearCombination {
  ConstTensorView x, y, coefficients, row_sequence;  // [rows, width] x2, float32 [max_sequences, 2], int32 [rows]
  TensorView out;
};

// out[s] = [cos(1000 t_s f_k) for k < features/2] ++ [sin(1000 t_s f_k) ...], f_k = 10000^(-k / (features/2)).
struct SinusoidalFeatures {
  ConstTensorView time;  // float32 [sequences], in [0, 1]
  TensorView out;        // [sequences, features], features even
};

class PointwiseOps : public OpFamily {
 public:
  using OpFamily::OpFamily;
  void run(const Fill& op);
  void run(const Cast& op);
  void run(const GeluForward& op);
  void run(const GeluBackward& op);
  void run(const SiluForward& op);
  void run(const SiluBackward& op);
  void run(const EmbeddingForward& op);
  void run(const EmbeddingBackward& op);
  void run(const ColumnAffine& op);
  void run(const LinearCombination& op);
  void run(const SinusoidalFeatures& op);

 private:
  virtual void launch(const Fill& op) = 0;
  virtual void launch(const Cast& op) = 0;
  virtual void launch(const GeluForward& op) = 0;
  virtual void launch(const GeluBackward& op) = 0;
  virtual void launch(const SiluForward& op) = 0;
  virtual void launch(const SiluBackward& op) = 0;
  virtual void launch(const EmbeddingForward& op) = 0;
  virtual void launch(const EmbeddingBackward& op) = 0;
  virtual void launch(const ColumnAffine& op) = 0;
  virtual void launch(const LinearCombination& op) = 0;
  virtual void launch(const SinusoidalFeatures& op) = 0;
  virtual std::size_t scratch_bytes(const Fill&) const { return 0; }
  virtual std::size_t scratch_bytes(const Cast&) const { return 0; }
  virtual std::size_t scratch_bytes(const GeluForward&) const { return 0; }
  virtual std::size_t scratch_bytes(const GeluBackward&) const { return 0; }
  virtual std::size_t scratch_bytes(const SiluForward&) const { return 0; }
  virtual std::size_t scratch_bytes(const SiluBackward&) const { return 0; }
  virtual std::size_t scratch_bytes(const EmbeddingForward&) const { return 0; }
  virtual std::size_t scratch_bytes(const EmbeddingBackward&) const { return 0; }
  virtual std::size_t scratch_bytes(const ColumnAffine&) const { return 0; }
  virtual std::size_t scratch_bytes(const LinearCombination&) const { return 0; }
  virtual std::size_t scratch_bytes(const SinusoidalFeatures&) const { return 0; }
};

}  // namespace lsd
