// SPDX-License-Identifier: Apache-2.0
#include "lsd/backends/make_backend.h"

#include "lsd/core/error.h"

namespace lsd::backends {

std::unique_ptr<Backend> make_backend(std::string_view name, const BackendOptions& options) {
  if (name == "cpu") return make_cpu_backend(options);
  if (name == "cuda") return make_cuda_backend(options);
  if (name == "checked") return make_checked_backend(make_cpu_backend(options), make_reference_backend());
  if (name == "reference") {
    auto backend = make_reference_backend();
    backend->set_planning(options.plan_only);
    return backend;
  }
  if (name == "auto") {
    std::string why_not;
    return cuda_device_present(why_not) ? make_cuda_backend(options) : make_cpu_backend(options);
  }
  throw UserError("unknown backend '" + std::string(name) + "'; use auto, cpu, cuda, checked or reference");
}

}  // namespace lsd::backends
