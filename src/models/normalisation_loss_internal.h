// SPDX-License-Identifier: Apache-2.0
#pragma once
// KL of the latents' moments to N(0, I): of all residues (LSD-NM) or of each amino-acid type (LSD-TN). See
// docs/maths/losses.md.

#include "lsd/models/autoencoder_config.h"
#include "lsd/models/batch.h"
#include "lsd/nn/step_context.h"

namespace lsd::models {

class NormalisationLoss {
 public:
  explicit NormalisationLoss(const AutoencoderConfig& config) : config_(config) {}

  // loss += share * KL; an absent share is 1. When grad_z is present: grad_z = grad_in + lambda * share * dKL/dz,
  // rounded once. Without it the moments are always those of this micro-batch: no rank waits for another.
  void run(nn::StepContext& step, const Batch& batch, ConstTensorView z, ConstTensorView share, ConstTensorView grad_in,
           TensorView grad_z, TensorView loss) const;

 private:
  struct Moments {
    TensorView count, mean, variance;  // float32 [groups], [groups, width] x 2
  };
  struct Operands {
    ConstTensorView z, row_group, share, grad_in;
    TensorView grad_z, loss;
  };
  void univariate(nn::StepContext& step, const Moments& moments, const Operands& operands) const;
  void multivariate(nn::StepContext& step, const Moments& moments, const Operands& operands) const;
  // Moments of all ranks' residues, from those of this rank's. Waits for the device: counts and moments pass through
  // the host, where sums are formed and divided again.
  void sum_over_ranks(nn::StepContext& step, const Moments& moments) const;
  float min_count() const;

  const AutoencoderConfig& config_;
};

}  // namespace lsd::models
