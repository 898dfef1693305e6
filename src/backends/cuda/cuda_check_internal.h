// SPDX-License-Identifier: Apache-2.0
#pragma once
// CUDA status codes become exceptions, and CUDA handles have owners. A driver that is missing or too old, a machine
// without a GPU, a full device and a lost device are told in words that say what to do.

#include <cuda_runtime_api.h>

#include <cstddef>
#include <source_location>
#include <string>
#include <string_view>

namespace lsd::backends::cuda {

// Throws SystemError "<what>: <reason>" unless `status` is cudaSuccess.
void check_cuda(cudaError_t status, std::string_view what,
                std::source_location where = std::source_location::current());
// What `status` means for somebody who has to mend it.
std::string reason_of(cudaError_t status);
// After a kernel launch: throws what the launch itself reported, for example a grid that the device refuses.
void check_launch(std::string_view kernel, std::source_location where = std::source_location::current());

// A stream of its own that does not wait for the legacy default stream.
class Stream {
 public:
  Stream() = default;
  static Stream create();
  Stream(Stream&& other) noexcept;
  Stream& operator=(Stream&& other) noexcept;
  ~Stream();
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// A point in a stream. Without `timing` it only orders streams, which is cheaper.
class Event {
 public:
  Event() = default;
  static Event create(bool timing);
  Event(Event&& other) noexcept;
  Event& operator=(Event&& other) noexcept;
  ~Event();
  cudaEvent_t get() const { return event_; }
  void record(cudaStream_t stream) const;

 private:
  cudaEvent_t event_ = nullptr;
};

// Page-locked host memory, which the device can also write while kernels run.
class PinnedMemory {
 public:
  PinnedMemory() = default;
  static PinnedMemory allocate(std::size_t bytes);
  PinnedMemory(PinnedMemory&& other) noexcept;
  PinnedMemory& operator=(PinnedMemory&& other) noexcept;
  ~PinnedMemory();
  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace lsd::backends::cuda
