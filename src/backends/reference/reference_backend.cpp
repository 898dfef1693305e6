// SPDX-License-Identifier: Apache-2.0
// Plain loops in one thread, double precision inside an op: the meaning of every op, and what the others are compared
// with. It allocates freely inside an op; it is for tests, never for speed.
#include "../host_backend_internal.h"
#include "../op_families_internal.h"
#include "families_internal.h"
#include "lsd/backends/make_backend.h"

namespace lsd::backends {
namespace {

class ReferenceBackend : public WithFamilies<HostBackend> {
 public:
  ReferenceBackend() {
    const reference::Setup setup{context_};
    make_families(setup);
  }
  std::string_view name() const override { return "reference"; }
  std::string description() const override { return "reference loops on " + cpu_model_name() + ", 1 thread"; }
};

}  // namespace

std::unique_ptr<Backend> make_reference_backend() {
  return std::make_unique<ReferenceBackend>();
}

}  // namespace lsd::backends
