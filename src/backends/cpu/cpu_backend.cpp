// SPDX-License-Identifier: Apache-2.0
#include "../host_backend_internal.h"
#include "cpu_internal.h"
#include "lsd/backends/make_backend.h"

namespace lsd::backends {
namespace {

class CpuBackend : public HostBackend {
 public:
  CpuBackend(const cpu::Kernels& kernels, int threads)
      : setup_{.context = context_, .kernels = kernels, .threads = threads},
        matrix_(cpu::make_matrix_ops(setup_)),
        norm_(cpu::make_norm_ops(setup_)),
        attention_(cpu::make_attention_ops(setup_)),
        pointwise_(cpu::make_pointwise_ops(setup_)),
        random_(cpu::make_random_ops(setup_)),
        loss_(cpu::make_loss_ops(setup_)),
        reduce_(cpu::make_reduce_ops(setup_)),
        optimizer_(cpu::make_optimizer_ops(setup_)) {}
  std::string_view name() const override { return "cpu"; }
  std::string description() const override {
    return cpu_model_name() + ", " + std::to_string(setup_.threads) +
           (setup_.threads == 1 ? " thread, " : " threads, ") + setup_.kernels.name + " loops";
  }
  MatrixOps& matrix() override { return *matrix_; }
  NormOps& norm() override { return *norm_; }
  AttentionOps& attention() override { return *attention_; }
  PointwiseOps& pointwise() override { return *pointwise_; }
  RandomOps& random() override { return *random_; }
  LossOps& loss() override { return *loss_; }
  ReduceOps& reduce() override { return *reduce_; }
  OptimizerOps& optimizer() override { return *optimizer_; }

 private:
  cpu::Setup setup_;
  std::unique_ptr<MatrixOps> matrix_;
  std::unique_ptr<NormOps> norm_;
  std::unique_ptr<AttentionOps> attention_;
  std::unique_ptr<PointwiseOps> pointwise_;
  std::unique_ptr<RandomOps> random_;
  std::unique_ptr<LossOps> loss_;
  std::unique_ptr<ReduceOps> reduce_;
  std::unique_ptr<OptimizerOps> optimizer_;
};

}  // namespace

std::unique_ptr<Backend> cpu::make_backend_on(const Kernels& kernels, int threads) {
  return std::make_unique<CpuBackend>(kernels, threads);
}

std::unique_ptr<Backend> make_cpu_backend(const BackendOptions& options) {
  const int threads = options.threads > 0 ? options.threads : omp_get_max_threads();
  auto backend = cpu::make_backend_on(cpu::best_kernels(), threads);
  backend->set_planning(options.plan_only);
  return backend;
}

}  // namespace lsd::backends
