// SPDX-License-Identifier: Apache-2.0
// Two backends as one: every op runs on the fast one in place, and on copies of its operands on the reference; where
// they differ by more than rounding explains, it throws. For finding the first wrong op of a run. It allocates inside
// steps.
#include "../op_families_internal.h"
#include "families_internal.h"
#include "lsd/backends/make_backend.h"

namespace lsd::backends {
namespace {

class CheckedBackend : public WithFamilies<Backend> {
 public:
  CheckedBackend(std::unique_ptr<Backend> fast, std::unique_ptr<Backend> reference)
      : pair_(std::move(fast), std::move(reference)) {
    const checked::Setup setup{context_, pair_};
    make_families(setup);
  }
  std::string_view name() const override { return "checked"; }
  std::string description() const override {
    return pair_.fast->description() + ", every op checked against " + pair_.reference->description();
  }
  Device device() const override { return pair_.fast->device(); }

  DeviceMemory allocate(std::size_t bytes) override {
    if (planning()) return {nullptr, bytes, nullptr};
    ++context_.allocations;
    return pair_.fast->allocate(bytes);
  }
  void copy_to_device(TensorView to, const void* from) override {
    if (!planning()) pair_.fast->copy_to_device(to, from);
  }
  void copy_to_host(void* to, ConstTensorView from) override {
    if (!planning()) pair_.fast->copy_to_host(to, from);
  }
  void copy_on_device(TensorView to, ConstTensorView from) override {
    if (!planning()) pair_.fast->copy_on_device(to, from);
  }
  void synchronize() override { pair_.fast->synchronize(); }
  void record_event(int event) override { pair_.fast->record_event(event); }
  void wait_for_event(int event) override { pair_.fast->wait_for_event(event); }
  double elapsed_ms(int from, int to) const override { return pair_.fast->elapsed_ms(from, to); }
  DeviceMemory allocate_staging(std::size_t bytes) override { return pair_.fast->allocate_staging(bytes); }
  void copy_to_staging(void* to, ConstTensorView from) override {
    if (!planning()) pair_.fast->copy_to_staging(to, from);
  }
  std::size_t device_bytes_in_use() const override { return pair_.fast->device_bytes_in_use(); }

 private:
  checked::Pair pair_;
};

}  // namespace

std::unique_ptr<Backend> make_checked_backend(std::unique_ptr<Backend> fast, std::unique_ptr<Backend> reference) {
  return std::make_unique<CheckedBackend>(std::move(fast), std::move(reference));
}

}  // namespace lsd::backends
