// SPDX-License-Identifier: Apache-2.0
#include <omp.h>

#include "../host_backend_internal.h"
#include "../reference/families_internal.h"
#include "lsd/backends/make_backend.h"

namespace lsd::backends {
namespace {

class CpuBackend : public HostBackend {
 public:
  explicit CpuBackend(int threads) : threads_(threads) {}
  std::string_view name() const override { return "cpu"; }
  std::string description() const override { return cpu_model_name() + ", " + std::to_string(threads_) + " threads"; }
  MatrixOps& matrix() override { return *matrix_; }
  NormOps& norm() override { return *norm_; }
  AttentionOps& attention() override { return *attention_; }
  PointwiseOps& pointwise() override { return *pointwise_; }
  RandomOps& random() override { return *random_; }
  LossOps& loss() override { return *loss_; }
  ReduceOps& reduce() override { return *reduce_; }
  OptimizerOps& optimizer() override { return *optimizer_; }

 private:
  int threads_;
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

std::unique_ptr<Backend> make_cpu_backend(const BackendOptions& options) {
  auto backend = std::make_unique<CpuBackend>(options.threads > 0 ? options.threads : omp_get_max_threads());
  backend->set_planning(options.plan_only);
  return backend;
}

}  // namespace lsd::backends
