// SPDX-License-Identifier: Apache-2.0
#include "../host_backend_internal.h"
#include "../op_families_internal.h"
#include "cpu_internal.h"
#include "lsd/backends/make_backend.h"

namespace lsd::backends {
namespace {

class CpuBackend : public WithFamilies<HostBackend> {
 public:
  CpuBackend(const cpu::Kernels& kernels, int threads)
      : setup_{.context = context_, .kernels = kernels, .threads = threads} {
    make_families(setup_);
  }
  std::string_view name() const override { return "cpu"; }
  std::string description() const override {
    return cpu_model_name() + ", " + std::to_string(setup_.threads) +
           (setup_.threads == 1 ? " thread, " : " threads, ") + setup_.kernels.name + " loops";
  }

 private:
  cpu::Setup setup_;
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
