// SPDX-License-Identifier: Apache-2.0
#include "lsd/tensor/backend.h"

#include <algorithm>
#include <cstdlib>
#include <string>
#include <utility>

#include "lsd/core/error.h"
#include "lsd/tensor/step_scalars.h"

namespace lsd {

DeviceMemory::DeviceMemory(DeviceMemory&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)), free_(other.free_) {}

DeviceMemory& DeviceMemory::operator=(DeviceMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  std::swap(free_, other.free_);
  return *this;
}

DeviceMemory::~DeviceMemory() {
  if (data_ && free_) free_(data_);
}

void* OpContext::scratch_for(std::string_view op, std::size_t bytes) const {
  if (bytes > scratch_bytes)
    throw InternalError(std::string(op) + " needs " + std::to_string(bytes) + " bytes of scratch but only " +
                        std::to_string(scratch_bytes) + " were planned");
  return scratch;
}

void Backend::reserve_scratch(std::size_t bytes) {
  if (bytes <= context_.scratch_bytes) return;
  context_.scratch = nullptr;
  context_.scratch_bytes = 0;
  scratch_ = DeviceMemory();  // free the old one first: the two need not fit together
  scratch_ = allocate(bytes);
  context_.scratch = scratch_.data();
  context_.scratch_bytes = bytes;
}

void Backend::record_event(int event) {
  const auto index = static_cast<std::size_t>(event);
  if (event_times_.size() <= index) event_times_.resize(index + 1);
  event_times_[index] = std::chrono::steady_clock::now();
}

void Backend::wait_for_event(int) {
  synchronize();
}

double Backend::elapsed_ms(int from, int to) const {
  const auto time = [&](int event) { return event_times_.at(static_cast<std::size_t>(event)); };
  return std::chrono::duration<double, std::milli>(time(to) - time(from)).count();
}

DeviceMemory Backend::allocate_staging(std::size_t bytes) {
  void* data = std::aligned_alloc(256, (std::max<std::size_t>(bytes, 1) + 255) / 256 * 256);
  if (data == nullptr) throw SystemError("not enough host memory: " + std::to_string(bytes) + " bytes asked for");
  return {data, bytes, [](void* memory) { std::free(memory); }};
}

void Backend::copy_to_staging(void* to, ConstTensorView from) {
  copy_to_host(to, from);
}

std::size_t Backend::device_bytes_in_use() const {
  return 0;
}

void StepScalars::upload(Backend& backend) {
  if (!backend.planning()) backend.copy_to_device(device_, host_.data());
}

ConstTensorView StepScalars::at(Slot slot) const {
  return device_.slice(slot, 1);
}

}  // namespace lsd
