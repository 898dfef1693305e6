// SPDX-License-Identifier: Apache-2.0
#include "host_backend_internal.h"

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "lsd/core/error.h"
#include "lsd/core/host_memory.h"

namespace lsd::backends {
namespace {

constexpr std::size_t kAlignment = 256;

// The value behind the first line of `path` that starts with `key`, without the colon and blanks; empty if none.
std::string proc_value(const char* path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, key.size(), key) != 0) continue;
    const auto begin = line.find_first_not_of(": \t", key.size());
    return begin == std::string::npos ? std::string{} : line.substr(begin);
  }
  return {};
}

}  // namespace

DeviceMemory HostBackend::allocate(std::size_t bytes) {
  if (planning()) return {nullptr, bytes, nullptr};
  ++context_.allocations;
  const auto padded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  const auto available = available_host_memory();
  // The kernel promises more than it has, so ask it first: a refusal here beats being killed in the middle of a run.
  void* data = padded <= available ? std::aligned_alloc(kAlignment, padded > 0 ? padded : kAlignment) : nullptr;
  if (data == nullptr)
    throw SystemError("not enough host memory: " + std::to_string(bytes) + " bytes asked for, " +
                      std::to_string(available) + " free; use a smaller batch capacity or model");
  return {data, bytes, [](void* memory) { std::free(memory); }};
}

void HostBackend::copy_to_device(TensorView to, const void* from) {
  if (!planning() && to.bytes() > 0) std::memcpy(to.raw(), from, static_cast<std::size_t>(to.bytes()));
}

void HostBackend::copy_to_host(void* to, ConstTensorView from) {
  if (!planning() && from.bytes() > 0) std::memcpy(to, from.raw(), static_cast<std::size_t>(from.bytes()));
}

void HostBackend::copy_on_device(TensorView to, ConstTensorView from) {
  check(to.shape() == from.shape() && to.dtype() == from.dtype(), "a copy keeps shape and type");
  if (!planning() && to.bytes() > 0) std::memmove(to.raw(), from.raw(), static_cast<std::size_t>(to.bytes()));
}

std::string cpu_model_name() {
  const auto name = proc_value("/proc/cpuinfo", "model name");
  return name.empty() ? "unknown CPU" : name;
}

}  // namespace lsd::backends
