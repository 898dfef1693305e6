// SPDX-License-Identifier: Apache-2.0
#pragma once
// Draws by coordinates (see core/philox.h): the visit of the row's sequence, and the element within that visit.
// Uniforms are bit-equal on every backend; normals agree to a few ulp.

#include "lsd/core/philox.h"
#include "lsd/tensor/op_family.h"
#include "lsd/tensor/packed_layout.h"

namespace lsd {

// out[r] = random_uniform(key, element = row_position[r], visit = sequence_visit[row_sequence[r]]); 0 on dead rows.
struct UniformPerRow {
  PackedLayout layout;
  ConstTensorView sequence_visit;  // int64 [max_sequences]
  TensorView out;                  // float32 [rows]
  RandomKey key;
};

// Forward process of NM and of the diffusion model, with theta = pi t / 2:
//   noised = cos(theta) z + sin(theta) eps,  eps ~ N(0, I) by element = row_position * width + column,
//   velocity = cos(theta) eps - sin(theta) z   (the v-target; written when present).
// The time of a row is row_time[r], or sequence_time[row_sequence[r]]: exactly one of them is present.
// Dead rows: noised = z, velocity = 0.
struct NoiseMix {
  ConstTensorView z;  // [rows, width], width a multiple of 4
  PackedLayout layout;
  ConstTensorView sequence_visit;           // int64 [max_sequences]
  ConstTensorView row_time, sequence_time;  // float32 [rows] | float32 [max_sequences]
  TensorView noised, velocity;              // [rows, width]; velocity may be absent
  RandomKey key;
  std::uint32_t draw = 0;  // which of several independent noises (the mean over K draws uses 0 .. K-1)
};

// grad_z = cos(theta) grad_noised; dead rows pass through.
struct NoiseMixBackward {
  ConstTensorView grad_noised, row_time;  // [rows, width], float32 [rows]
  ConstTensorView row_sequence;
  TensorView grad_z;
};

class RandomOps : public OpFamily {
 public:
  using OpFamily::OpFamily;
  void run(const UniformPerRow& op);
  void run(const NoiseMix& op);
  void run(const NoiseMixBackward& op);

 private:
  virtual void launch(const UniformPerRow& op) = 0;
  virtual void launch(const NoiseMix& op) = 0;
  virtual void launch(const NoiseMixBackward& op) = 0;
  virtual std::size_t scratch_bytes(const UniformPerRow&) const { return 0; }
  virtual std::size_t scratch_bytes(const NoiseMix&) const { return 0; }
  virtual std::size_t scratch_bytes(const NoiseMixBackward&) const { return 0; }
};

}  // namespace lsd
