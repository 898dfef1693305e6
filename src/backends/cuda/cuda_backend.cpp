// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <vector>

#include "../op_families_internal.h"
#include "cublaslt_library_internal.h"
#include "device_parts_internal.h"
#include "lsd/backends/cuda_device.h"
#include "lsd/backends/make_backend.h"
#include "lsd/core/error.h"
#include "products_internal.h"

namespace lsd::backends {
namespace cuda {
namespace {

std::string mebibytes(std::size_t bytes) {
  return std::to_string((bytes + (1U << 20U) - 1) >> 20U) + " MiB";
}

// As nvidia-smi -L writes it.
std::string text_of(const cudaUUID_t& uuid) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string out = "GPU-";
  for (std::size_t i = 0; i < sizeof uuid.bytes; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    const auto byte = static_cast<unsigned char>(uuid.bytes[i]);
    out += kDigits[byte >> 4U];
    out += kDigits[byte & 15U];
  }
  return out;
}

class CudaBackend : public WithFamilies<Backend> {
 public:
  explicit CudaBackend(const BackendOptions& options);
  ~CudaBackend() override;
  std::string_view name() const override { return "cuda"; }
  std::string description() const override { return description_; }
  Device device() const override { return Device::cuda; }

  DeviceMemory allocate(std::size_t bytes) override;
  void copy_to_device(TensorView to, const void* from) override;
  void copy_to_host(void* to, ConstTensorView from) override;
  void copy_on_device(TensorView to, ConstTensorView from) override;
  void synchronize() override;
  void record_event(int event) override;
  void wait_for_event(int event) override;
  double elapsed_ms(int from, int to) const override;
  DeviceMemory allocate_staging(std::size_t bytes) override;
  void copy_to_staging(void* to, ConstTensorView from) override;
  std::size_t device_bytes_in_use() const override;

  CudaDevice handle() const { return parts_ ? CudaDevice{cuda_.stream, cuda_.device, uuid_} : CudaDevice{}; }

 private:
  void open(const BackendOptions& options);
  void throw_fault();

  CudaContext cuda_;
  std::string description_, uuid_;
  std::unique_ptr<DeviceParts> parts_;
  std::unique_ptr<Products> products_;
};

CudaBackend::CudaBackend(const BackendOptions& options) : cuda_{.ops = context_} {
  cuda_.deterministic = options.deterministic;
  cuda_.device = options.device;
  cuda_.attention = options.attention;
  if (options.plan_only) {
    set_planning(true);
    description_ = "CUDA, planning only";
  } else {
    open(options);
  }
  make_families(cuda_);
}

// Work under way may still use what the members own. Errors have been thrown by synchronize() or are of no interest
// now.
CudaBackend::~CudaBackend() {
  if (parts_) (void)cudaStreamSynchronize(cuda_.stream);
}

void CudaBackend::open(const BackendOptions& options) {
  int devices = 0;
  check_cuda(cudaGetDeviceCount(&devices), "the CUDA backend");
  if (options.device < 0 || options.device >= devices)
    throw UserError("GPU " + std::to_string(options.device) + " was asked for, but this process sees " +
                    std::to_string(devices) +
                    "; choose with --device, or start as many ranks per node as there are GPUs");
  check_cuda(cudaSetDevice(options.device), "choose GPU " + std::to_string(options.device));
  cudaDeviceProp properties{};
  check_cuda(cudaGetDeviceProperties(&properties, options.device), "ask for the GPU's properties");
  cuda_.compute_capability = 10 * properties.major + properties.minor;
  if (cuda_.compute_capability < 80)
    throw SystemError(std::string("the GPU is a ") + properties.name + " of compute capability " +
                      std::to_string(properties.major) + "." + std::to_string(properties.minor) +
                      "; the kernels need 8.0 (Ampere) or higher");
  uuid_ = text_of(properties.uuid);
  cuda_.multiprocessors = properties.multiProcessorCount;
  cuda_.shared_bytes = properties.sharedMemPerBlockOptin;
  parts_ = std::make_unique<DeviceParts>();
  cuda_.stream = parts_->stream.get();
  auto* fault = reinterpret_cast<DeviceFault*>(parts_->fault.data());
  *fault = {};
  cuda_.fault = fault;  // page-locked memory has one address for both with unified addressing, which every such GPU has
  products_ = std::make_unique<Products>(cuda_);
  cuda_.products = products_.get();
  int driver = 0;
  check_cuda(cudaDriverGetVersion(&driver), "ask for the driver's version");
  description_ = std::string(properties.name) + " (GPU " + std::to_string(options.device) + ", " +
                 mebibytes(properties.totalGlobalMem) + "), driver for CUDA " + std::to_string(driver / 1000) + "." +
                 std::to_string(driver % 1000 / 10) + ", cuBLASLt " + std::to_string(cublaslt().version()) +
                 (options.deterministic ? ", deterministic" : "");
}

DeviceMemory CudaBackend::allocate(std::size_t bytes) {
  if (planning()) return {nullptr, bytes, nullptr};
  ++context_.allocations;
  void* data = nullptr;
  const auto status = cudaMalloc(&data, bytes > 0 ? bytes : 1);
  if (status == cudaErrorMemoryAllocation) {
    (void)cudaGetLastError();
    std::size_t free_bytes = 0, total = 0;
    (void)cudaMemGetInfo(&free_bytes, &total);
    throw SystemError("not enough GPU memory: " + mebibytes(bytes) + " asked for in one piece, " +
                      mebibytes(free_bytes) + " of " + mebibytes(total) +
                      " free; use a smaller batch capacity, recomputation or a smaller model "
                      "(--run.memory_plan=true tells what a run needs and what fits)");
  }
  check_cuda(status, "allocate " + mebibytes(bytes) + " of GPU memory");
  return {data, bytes, [](void* memory) { (void)cudaFree(memory); }};
}

void CudaBackend::copy_to_device(TensorView to, const void* from) {
  const auto bytes = static_cast<std::size_t>(to.bytes());
  if (planning() || bytes == 0) return;
  if (Staging::takes(bytes)) {
    auto* staged = parts_->staging.take(bytes);
    std::memcpy(staged, from, bytes);
    from = staged;
  }
  check_cuda(cudaMemcpyAsync(to.raw(), from, bytes, cudaMemcpyHostToDevice, cuda_.stream), "copy to the GPU");
}

void CudaBackend::copy_to_host(void* to, ConstTensorView from) {
  const auto bytes = static_cast<std::size_t>(from.bytes());
  if (planning() || bytes == 0) return;
  void* target = to;
  if (Staging::takes(bytes)) {
    auto* staged = parts_->staging.take(bytes);
    parts_->staging.deliver_later(to, staged, bytes);
    target = staged;
  }
  check_cuda(cudaMemcpyAsync(target, from.raw(), bytes, cudaMemcpyDeviceToHost, cuda_.stream), "copy from the GPU");
}

void CudaBackend::copy_on_device(TensorView to, ConstTensorView from) {
  check(to.shape() == from.shape() && to.dtype() == from.dtype(), "a copy keeps shape and type");
  if (planning() || to.bytes() == 0 || to.raw() == from.raw()) return;
  check_cuda(cudaMemcpyAsync(to.raw(), from.raw(), static_cast<std::size_t>(to.bytes()), cudaMemcpyDeviceToDevice,
                             cuda_.stream),
             "copy on the GPU");
}

void CudaBackend::synchronize() {
  if (!parts_) return;
  check_cuda(cudaStreamSynchronize(cuda_.stream), "wait for the GPU");
  parts_->staging.finish();
  throw_fault();
}

void CudaBackend::throw_fault() {
  auto* fault = reinterpret_cast<volatile DeviceFault*>(parts_->fault.data());
  const std::uint64_t word = fault->word;
  const Fault seen{static_cast<FaultKind>(word & 0xFFFFFFFFU), static_cast<std::uint32_t>(word >> 32U)};
  if (seen.kind == FaultKind::none) return;
  fault->word = 0;
  if (seen.kind == FaultKind::not_positive_definite) throw SystemError(text_of(seen));
  throw InternalError(text_of(seen));
}

void CudaBackend::record_event(int event) {
  if (!parts_) return;
  auto& events = parts_->events;
  while (events.size() <= static_cast<std::size_t>(event)) events.push_back(Event::create(true));
  events[static_cast<std::size_t>(event)].record(cuda_.stream);
}

void CudaBackend::wait_for_event(int event) {
  if (!parts_) return;
  check_cuda(cudaEventSynchronize(parts_->events.at(static_cast<std::size_t>(event)).get()), "wait for the GPU");
  throw_fault();
}

double CudaBackend::elapsed_ms(int from, int to) const {
  if (!parts_) return 0.0;
  const auto& events = parts_->events;
  float milliseconds = 0.0F;
  check_cuda(cudaEventElapsedTime(&milliseconds, events.at(static_cast<std::size_t>(from)).get(),
                                  events.at(static_cast<std::size_t>(to)).get()),
             "ask for the time between two events");
  return static_cast<double>(milliseconds);
}

DeviceMemory CudaBackend::allocate_staging(std::size_t bytes) {
  return planning() ? DeviceMemory(nullptr, bytes, nullptr) : allocate_page_locked(bytes);
}

void CudaBackend::copy_to_staging(void* to, ConstTensorView from) {
  if (planning() || from.bytes() == 0) return;
  check_cuda(
      cudaMemcpyAsync(to, from.raw(), static_cast<std::size_t>(from.bytes()), cudaMemcpyDeviceToHost, cuda_.stream),
      "copy from the GPU");
}

std::size_t CudaBackend::device_bytes_in_use() const {
  std::size_t free_bytes = 0, total = 0;
  if (parts_) check_cuda(cudaMemGetInfo(&free_bytes, &total), "ask for the GPU's free memory");
  return total - free_bytes;
}

}  // namespace
}  // namespace cuda

std::unique_ptr<Backend> make_cuda_backend(const BackendOptions& options) {
  return std::make_unique<cuda::CudaBackend>(options);
}

bool cuda_built() {
  return true;
}

bool cuda_device_present(std::string& why_not) {
  int devices = 0;
  const auto status = cudaGetDeviceCount(&devices);
  if (status == cudaSuccess && devices > 0) return true;
  (void)cudaGetLastError();
  why_not = status == cudaSuccess ? "no GPU is visible" : cuda::reason_of(status);
  return false;
}

DeviceMemory allocate_page_locked(std::size_t bytes) {
  void* data = nullptr;
  cuda::check_cuda(cudaHostAlloc(&data, bytes > 0 ? bytes : 1, cudaHostAllocPortable),
                   "page-lock " + cuda::mebibytes(bytes) + " of host memory");
  return {data, bytes, [](void* memory) { (void)cudaFreeHost(memory); }};
}

CudaDevice cuda_device_of(Backend& backend) {
  const auto* found = dynamic_cast<cuda::CudaBackend*>(&backend);
  return found != nullptr ? found->handle() : CudaDevice{};
}

std::size_t free_gpu_memory() {
  std::size_t free_bytes = 0, total = 0;
  cuda::check_cuda(cudaMemGetInfo(&free_bytes, &total), "ask for the GPU's free memory");
  return free_bytes;
}

}  // namespace lsd::backends
