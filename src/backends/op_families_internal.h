// SPDX-License-Identifier: Apache-2.0
#pragma once
// The eight families of one backend, owned and handed out. A backend derives from WithFamilies<Base>, Base being
// Backend or what it shares with others, and calls make_families(setup) once what its ops need stands. The factories
// make_matrix_ops(setup), ... are those of the namespace in which the type of `setup` is declared.
//
// Families are destroyed behind the members of the class that derives: their destructors use nothing of the setup.

#include <memory>

#include "lsd/tensor/backend.h"

namespace lsd::backends {

template <class Base>
class WithFamilies : public Base {
 public:
  MatrixOps& matrix() final { return *matrix_; }
  NormOps& norm() final { return *norm_; }
  AttentionOps& attention() final { return *attention_; }
  PointwiseOps& pointwise() final { return *pointwise_; }
  RandomOps& random() final { return *random_; }
  LossOps& loss() final { return *loss_; }
  ReduceOps& reduce() final { return *reduce_; }
  OptimizerOps& optimizer() final { return *optimizer_; }

 protected:
  template <class Setup>
  void make_families(Setup& setup) {
    matrix_ = make_matrix_ops(setup);
    norm_ = make_norm_ops(setup);
    attention_ = make_attention_ops(setup);
    pointwise_ = make_pointwise_ops(setup);
    random_ = make_random_ops(setup);
    loss_ = make_loss_ops(setup);
    reduce_ = make_reduce_ops(setup);
    optimizer_ = make_optimizer_ops(setup);
  }

 private:
  std::unique_ptr<MatrixOps> matrix_;
  std::unique_ptr<NormOps> norm_;
  std::unique_ptr<AttentionOps> attention_;
  std::unique_ptr<PointwiseOps> pointwise_;
  std::unique_ptr<RandomOps> random_;
  std::unique_ptr<LossOps> loss_;
  std::unique_ptr<ReduceOps> reduce_;
  std::unique_ptr<OptimizerOps> optimizer_;
};

}  // namespace lsd::backends
