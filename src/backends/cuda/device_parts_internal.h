// SPDX-License-Identifier: Apache-2.0
#pragma once
// What only a real device has: a stream, memory that both sides see, events.

#include <cstring>
#include <string>
#include <vector>

#include "cuda_context_internal.h"

namespace lsd::backends::cuda {

inline std::string text_of(DeviceFault fault) {
  const auto number = std::to_string(fault.detail);
  switch (fault.kind) {
    case FaultKind::none:
      return {};
    case FaultKind::token_outside_table:
      return "token " + std::to_string(static_cast<std::int32_t>(fault.detail)) +
             " does not lie within the embedding table";
    case FaultKind::group_outside_moments:
      return "a row's group " + number + " does not lie within the moments";
    case FaultKind::not_positive_definite:
      return "MultivariateKl: the covariance of the latents is not positive definite (tile " + number +
             " of its factor); latents may not be finite, or use a larger shrinkage";
    case FaultKind::sequence_too_long:
      return "a sequence of " + number + " rows is longer than the layout's max_length";
  }
  return "a kernel reported fault " + number;
}

// Copies between pageable host memory and the device without making the host wait: small ones pass through page-locked
// memory, which is free again after every synchronize(). Large ones are handed to the driver, which waits by itself.
class Staging {
 public:
  static constexpr std::size_t kBytes = std::size_t{16} << 20U, kLargestCopy = kBytes / 4;

  Staging() : memory_(PinnedMemory::allocate(kBytes)) {}

  static bool takes(std::size_t bytes) { return bytes <= kLargestCopy; }
  bool has_room(std::size_t bytes) const { return used_ + bytes <= kBytes; }
  std::byte* take(std::size_t bytes) {
    auto* out = memory_.data() + used_;
    used_ += scratch_size(bytes);
    return out;
  }
  void deliver_later(void* to, const std::byte* from, std::size_t bytes) { pending_.push_back({to, from, bytes}); }
  // After the stream has been waited for.
  void finish() {
    for (const auto& copy : pending_) std::memcpy(copy.to, copy.from, copy.bytes);
    pending_.clear();
    used_ = 0;
  }

 private:
  struct Pending {
    void* to;
    const std::byte* from;
    std::size_t bytes;
  };
  static std::size_t scratch_size(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

  PinnedMemory memory_;
  std::size_t used_ = 0;
  std::vector<Pending> pending_;
};

// What only a real device has; a backend that plans has none of it.
struct DeviceParts {
  Stream stream = Stream::create();
  PinnedMemory fault = PinnedMemory::allocate(sizeof(DeviceFault));
  Staging staging;
  std::vector<Event> events;
};

}  // namespace lsd::backends::cuda
