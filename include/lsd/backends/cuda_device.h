// SPDX-License-Identifier: Apache-2.0
#pragma once
// The stream and the GPU behind a backend, for transports that order themselves with it (dist/nccl). Without CUDA
// types, so that builds without CUDA can ask too.

#include <string>

#include "lsd/tensor/backend.h"

namespace lsd::backends {

struct CudaDevice {
  void* stream = nullptr;  // cudaStream_t on which the backend's ops and copies run, in order
  int device = -1;         // GPU number within this process
  std::string uuid = {};   // which GPU of all machines that is
  bool present() const { return device >= 0; }
};

// Not present for every backend but "cuda", and for one that only plans.
CudaDevice cuda_device_of(Backend& backend);
// Bytes that can still be allocated on the GPU of this thread. Only where cuda_device_of() is present.
std::size_t free_gpu_memory();
// Host memory that copies to and from the GPU run fastest with. Only where cuda_device_of() is present.
DeviceMemory allocate_page_locked(std::size_t bytes);

}  // namespace lsd::backends
