// SPDX-License-Identifier: Apache-2.0
// Plain loops in one thread, double precision inside an op: the meaning of every op, and what the others are compared
// with. It allocates freely inside an op; it is for tests, never for speed.
#include "../host_backend_internal.h"
#include "families_internal.h"
#include "lsd/backends/make_backend.h"

namespace lsd::backends {
namespace {

class ReferenceBackend : public HostBackend {
 public:
  std::string_view name() const override { return "reference"; }
  std::string description() const override { return "reference loops on " + cpu_model_name() + ", 1 thread"; }
  MatrixOps& matrix() override { return *matrix_; }
  NormOps& norm() override { return *norm_; }
  AttentionOps& attention() override { return *attention_; }
  PointwiseOps& pointwise() override { return *pointwise_; }
  RandomOps& random() override { return *random_; }
  LossOps& loss() override { return *loss_; }
  ReduceOps& reduce() override { return *reduce_; }
  OptimizerOps& optimizer() override { return *optimizer_; }

 private:
  std::unique_ptr<MatrixOps> matrix_ = reference::make_matrix_ops(context_);
  std::unique_ptr<NormOps> norm_ = reference::make_norm_ops(context_);
  std::unique_ptr<AttentionOps> attention_ = reference::make_attention_ops(context_);
  std::unique_ptr<PointwiseOps> pointwise_ = reference::make_pointwise_ops(context_);
  std::unique_ptr<RandomOps> random_ = reference::make_random_ops(context_);
  std::unique_ptr<LossOps> loss_ = reference::make_loss_ops(context_);
  std::unique_ptr<ReduceOps> reduce_ = reference::make_reduce_ops(context_);
  std::unique_ptr<OptimizerOps> optimizer_ = reference::make_optimizer_ops(context_);
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend() {
  return std::make_unique<ReferenceBackend>();
}

}  // namespace lsd::backends
