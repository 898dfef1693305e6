// SPDX-License-Identifier: Apache-2.0
#pragma once
// Reductions over rows: moments of latents by group (all residues, or one group per residue type), the KL of those
// moments to N(0, I), and means over sequences. All results float32.

#include "lsd/tensor/op_family.h"
#include "lsd/tensor/packed_layout.h"

namespace lsd {

// Two passes over the rows with row_group[r] = g >= 0:
//   count[g] = n_g,  mean[g] = 1/n_g sum z,  variance[g] = 1/n_g sum (z - mean)^2   (0 for an empty group).
struct GroupMoments {
  ConstTensorView z, row_group;      // [rows, width], int32 [rows]
  TensorView count, mean, variance;  // float32 [groups], [groups, width], [groups, width]
};

// KL(N(mean, diag variance) || N(0, I)) averaged over dimensions and over the K groups with count >= min_count:
//   loss += 1/K sum_g mean_c 1/2 (mu^2 + var - 1 - ln var),  var floored at variance_floor (no gradient below it).
// Its gradient with respect to a row z of group g is offset[g] + slope[g] (z - mean[g]), with
//   offset = mu / (n d K),  slope = (1 - 1/var) / (n d K);  both 0 for groups that take no part.
struct UnivariateKl {
  ConstTensorView count, mean, variance;
  TensorView offset, slope;  // float32 [groups, width]
  TensorView loss;           // float32 [1], accumulated
  float min_count = 1.0F;
  float variance_floor = 1e-6F;
};

// grad_z = grad_in + weight * share * (offset[g] + slope[g] (z - mean[g])), added in float32 and rounded once; rows of
// no group copy grad_in. grad_z may be grad_in's memory.
struct MomentGradient {
  ConstTensorView grad_in, z, row_group, mean, offset, slope;
  TensorView grad_z;      // [rows, width]
  ConstTensorView share;  // float32 [1]: this micro-batch's part of the step; absent = 1
  float weight = 1.0F;    // lambda; the gradient is multiplied by weight * share
};

// With S' = (1 - shrinkage) S + shrinkage I, S the group's covariance (1/n):
//   loss += 1/K sum_g 1/(2 d) (tr S' + mu' mu - d - ln det S')   over groups with count >= min_count
//   grad_z = grad_in + weight * share / (n d K) [mu + (1 - shrinkage) (I - S'^-1) (z - mu)].
// float32 Cholesky; throws SystemError when S' is not positive definite. grad_in/grad_z may be absent (evaluation).
struct MultivariateKl {
  ConstTensorView z, row_group, count, mean, grad_in, share;  // share as in MomentGradient
  TensorView grad_z, loss;
  float min_count = 1.0F;
  float shrinkage = 1e-3F;
  float weight = 1.0F;
};

// mean[s] = average of x over the rows of sequence s with row_mask != 0; 0 for a sequence without such rows.
struct SequenceMean {
  ConstTensorView x, row_mask;  // [rows, width], uint8 [rows]
  PackedLayout layout;
  TensorView mean;  // float32 [max_sequences, width]
};

class ReduceOps : public OpFamily {
 public:
  using OpFamily::OpFamily;
  void run(const GroupMoments& op);
  void run(const UnivariateKl& op);
  void run(const MomentGradient& op);
  void run(const MultivariateKl& op);
  void run(const SequenceMean& op);

 private:
  virtual void launch(const GroupMoments& op) = 0;
  virtual void launch(const UnivariateKl& op) = 0;
  virtual void launch(const MomentGradient& op) = 0;
  virtual void launch(const MultivariateKl& op) = 0;
  virtual void launch(const SequenceMean& op) = 0;
  virtual std::size_t scratch_bytes(const GroupMoments&) const { return 0; }
  virtual std::size_t scratch_bytes(const UnivariateKl&) const { return 0; }
  virtual std::size_t scratch_bytes(const MomentGradient&) const { return 0; }
  virtual std::size_t scratch_bytes(const MultivariateKl&) const { return 0; }
  virtual std::size_t scratch_bytes(const SequenceMean&) const { return 0; }
};

}  // namespace lsd
