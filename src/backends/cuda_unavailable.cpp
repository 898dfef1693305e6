// SPDX-License-Identifier: Apache-2.0
// Stands in for cuda/ in builds without CUDA: the same functions, which say so.
#include "lsd/backends/cuda_device.h"
#include "lsd/backends/make_backend.h"
#include "lsd/core/error.h"

namespace lsd::backends {

std::unique_ptr<Backend> make_cuda_backend(const BackendOptions&) {
  throw UserError(
      "this build has no CUDA backend; configure with -DLSD_WITH_CUDA=ON where nvcc is installed, or use "
      "the cpu backend");
}

bool cuda_built() {
  return false;
}

CudaDevice cuda_device_of(Backend&) {
  return {};
}

DeviceMemory allocate_page_locked(std::size_t) {
  throw InternalError("this build has no CUDA backend");
}

std::size_t free_gpu_memory() {
  throw InternalError("this build has no CUDA backend");
}

bool cuda_device_present(std::string& why_not) {
  why_not = "this build has no CUDA backend";
  return false;
}

}  // namespace lsd::backends
