// SPDX-License-Identifier: Apache-2.0
#pragma once
// One factory per family of the reference backend.

#include <memory>

#include "lsd/tensor/backend.h"

namespace lsd::backends::reference {

struct Setup {
  OpContext& context;
};

std::unique_ptr<MatrixOps> make_matrix_ops(const Setup& setup);
std::unique_ptr<NormOps> make_norm_ops(const Setup& setup);
std::unique_ptr<AttentionOps> make_attention_ops(const Setup& setup);
std::unique_ptr<PointwiseOps> make_pointwise_ops(const Setup& setup);
std::unique_ptr<RandomOps> make_random_ops(const Setup& setup);
std::unique_ptr<LossOps> make_loss_ops(const Setup& setup);
std::unique_ptr<ReduceOps> make_reduce_ops(const Setup& setup);
std::unique_ptr<OptimizerOps> make_optimizer_ops(const Setup& setup);

}  // namespace lsd::backends::reference
