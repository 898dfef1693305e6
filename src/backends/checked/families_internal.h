// SPDX-License-Identifier: Apache-2.0
#pragma once
// The families of the checked backend: each op runs on the fast backend in place, then on copies on the reference.

#include <memory>
#include <string_view>

#include "lsd/tensor/backend.h"

namespace lsd::backends::checked {

struct Pair {
  Pair(std::unique_ptr<Backend> fast_backend, std::unique_ptr<Backend> reference_backend);
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  std::unique_ptr<Backend> fast, reference;
  std::string_view running;  // the op that the fast backend ran last
};

struct Setup {
  OpContext& context;
  Pair& pair;
};

std::unique_ptr<MatrixOps> make_matrix_ops(const Setup& setup);
std::unique_ptr<NormOps> make_norm_ops(const Setup& setup);
std::unique_ptr<AttentionOps> make_attention_ops(const Setup& setup);
std::unique_ptr<PointwiseOps> make_pointwise_ops(const Setup& setup);
std::unique_ptr<RandomOps> make_random_ops(const Setup& setup);
std::unique_ptr<LossOps> make_loss_ops(const Setup& setup);
std::unique_ptr<ReduceOps> make_reduce_ops(const Setup& setup);
std::unique_ptr<OptimizerOps> make_optimizer_ops(const Setup& setup);

}  // namespace lsd::backends::checked
