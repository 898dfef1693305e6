// SPDX-License-Identifier: Apache-2.0
#include "cuda_check_internal.h"

#include <utility>

#include "lsd/core/error.h"

namespace lsd::backends::cuda {

std::string reason_of(cudaError_t status) {
  const std::string name = std::string(cudaGetErrorName(status)) + ", " + cudaGetErrorString(status);
  switch (status) {
    case cudaErrorInsufficientDriver: {
      int driver = 0;
      if (cudaDriverGetVersion(&driver) != cudaSuccess || driver == 0)
        return "no NVIDIA driver is loaded on this machine (" + name +
               "); use the cpu backend, or a machine with a GPU";
      return "the NVIDIA driver supports CUDA " + std::to_string(driver / 1000) + "." +
             std::to_string(driver % 1000 / 10) + " only and this build needs CUDA " +
             std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10) + " (" + name +
             "); update the driver or build with an older toolkit";
    }
    case cudaErrorNoDevice:
      return "no GPU is visible (" + name + "); CUDA_VISIBLE_DEVICES may hide it, or the job has none";
    case cudaErrorSystemDriverMismatch:
    case cudaErrorSystemNotReady:
    case cudaErrorCompatNotSupportedOnDevice:
      return "the GPU's driver is not usable (" + name + "); ask who runs the machine";
    case cudaErrorInvalidDevice:
      return "there is no GPU of that number (" + name + "); see --device";
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorUnsupportedPtxVersion:
      return "this GPU cannot run the compiled kernels (" + name + "); compute capability 8.0 or higher is needed";
    case cudaErrorMemoryAllocation:
      return "the GPU's memory is used up (" + name + ")";
    case cudaErrorECCUncorrectable:
      return "the GPU's memory had an uncorrectable error (" + name +
             "); the results since the last checkpoint are lost, "
             "restart on another GPU";
    case cudaErrorDevicesUnavailable:
      return "the GPU is held by another process (" + name + "); two ranks may be bound to one GPU in exclusive mode";
    case cudaErrorLaunchFailure:
    case cudaErrorIllegalAddress:
    case cudaErrorMisalignedAddress:
    case cudaErrorIllegalInstruction:
      return "a kernel failed on the GPU (" + name + "); run again with CUDA_LAUNCH_BLOCKING=1 under compute-sanitizer";
    default:
      return name;
  }
}

void check_cuda(cudaError_t status, std::string_view what, std::source_location where) {
  if (status == cudaSuccess) return;
  (void)cudaGetLastError();  // an error that can be lived with must not show again at the next launch
  throw SystemError(std::string(what) + ": " + reason_of(status), where);
}

void check_launch(std::string_view kernel, std::source_location where) {
  const auto status = cudaGetLastError();
  if (status != cudaSuccess) throw SystemError("launching " + std::string(kernel) + ": " + reason_of(status), where);
}

Stream Stream::create() {
  Stream out;
  check_cuda(cudaStreamCreateWithFlags(&out.stream_, cudaStreamNonBlocking), "make a CUDA stream");
  return out;
}

Stream::Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}

Stream& Stream::operator=(Stream&& other) noexcept {
  std::swap(stream_, other.stream_);
  return *this;
}

Stream::~Stream() {
  if (stream_ != nullptr) (void)cudaStreamDestroy(stream_);
}

Event Event::create(bool timing) {
  Event out;
  check_cuda(cudaEventCreateWithFlags(&out.event_, timing ? cudaEventDefault : cudaEventDisableTiming),
             "make a CUDA event");
  return out;
}

Event::Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}

Event& Event::operator=(Event&& other) noexcept {
  std::swap(event_, other.event_);
  return *this;
}

Event::~Event() {
  if (event_ != nullptr) (void)cudaEventDestroy(event_);
}

void Event::record(cudaStream_t stream) const {
  check_cuda(cudaEventRecord(event_, stream), "record a CUDA event");
}

PinnedMemory PinnedMemory::allocate(std::size_t bytes) {
  PinnedMemory out;
  void* data = nullptr;
  check_cuda(cudaHostAlloc(&data, bytes, cudaHostAllocPortable | cudaHostAllocMapped),
             "page-lock " + std::to_string(bytes) + " bytes of host memory");
  out.data_ = static_cast<std::byte*>(data);
  out.bytes_ = bytes;
  return out;
}

PinnedMemory::PinnedMemory(PinnedMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

PinnedMemory& PinnedMemory::operator=(PinnedMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

PinnedMemory::~PinnedMemory() {
  if (data_ != nullptr) (void)cudaFreeHost(data_);
}

}  // namespace lsd::backends::cuda
