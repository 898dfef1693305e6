// SPDX-License-Identifier: Apache-2.0
#pragma once
// One factory per family of the reference backend.

#include <memory>

#include "lsd/tensor/backend.h"

namespace lsd::backends::reference {

std::unique_ptr<MatrixOps> make_matrix_ops(OpContext& context);
std::unique_ptr<NormOps> make_norm_ops(OpContext& context);
std::unique_ptr<AttentionOps> make_attention_ops(OpContext& context);
std::unique_ptr<PointwiseOps> make_pointwise_ops(OpContext& context);
std::unique_ptr<RandomOps> make_random_ops(OpContext& context);
std::unique_ptr<LossOps> make_loss_ops(OpContext& context);
std::unique_ptr<ReduceOps> make_reduce_ops(OpContext& context);
std::unique_ptr<OptimizerOps> make_optimizer_ops(OpContext& context);

}  // namespace lsd::backends::reference
