// SPDX-License-Identifier: Apache-2.0
#pragma once
// The only place where a concrete backend is named; used by run_app and by tests.

#include <memory>
#include <string>
#include <string_view>

#include "lsd/tensor/backend.h"

namespace lsd::backends {

struct BackendOptions {
  int threads = 0;             // CPU threads; 0: the cores this process may use
  int device = 0;              // GPU number
  bool deterministic = false;  // same bits on every run (GPU; the CPU always is)
  bool plan_only = false;      // for memory plans: touches no device
  std::string attention = {};  // GPU kernel: mma, wgmma, wgmma_wide; empty: LSD_CUDA_ATTENTION, else by the GPU
};

// Plain loops, one thread, float64 accumulation where it is cheap: what everything else is compared with.
std::unique_ptr<Backend> make_reference_backend();
std::unique_ptr<Backend> make_cpu_backend(const BackendOptions& options);
// Throws UserError when this build has no CUDA, SystemError when the machine has no usable GPU.
std::unique_ptr<Backend> make_cuda_backend(const BackendOptions& options);
bool cuda_built();
bool cuda_device_present(std::string& why_not);  // false in builds without CUDA
// Runs every op on both and throws InternalError where they differ by more than rounding explains.
std::unique_ptr<Backend> make_checked_backend(std::unique_ptr<Backend> fast, std::unique_ptr<Backend> reference);

// "cpu", "reference", "cuda", "checked" (cpu against reference), "auto" (cuda when there is a GPU, else cpu).
std::unique_ptr<Backend> make_backend(std::string_view name, const BackendOptions& options);

}  // namespace lsd::backends
