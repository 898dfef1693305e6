// SPDX-License-Identifier: Apache-2.0
#pragma once
// What every backend in host memory shares: aligned allocation, copies that are memcpy, nothing to wait for.

#include "lsd/tensor/backend.h"

namespace lsd::backends {

class HostBackend : public Backend {
 public:
  Device device() const override { return Device::host; }
  DeviceMemory allocate(std::size_t bytes) override;
  void copy_to_device(TensorView to, const void* from) override;
  void copy_to_host(void* to, ConstTensorView from) override;
  void copy_on_device(TensorView to, ConstTensorView from) override;
  void synchronize() override {}
};

// "Intel(R) Xeon(R) Processor", as the kernel reports it; "unknown CPU" where it does not.
std::string cpu_model_name();

}  // namespace lsd::backends
