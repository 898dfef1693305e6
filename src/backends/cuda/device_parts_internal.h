// SPDX-License-Identifier: Apache-2.0
#pragma once
// What only a real device has: a stream, memory that both sides see, events.

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "cuda_context_internal.h"

namespace lsd::backends::cuda {

inline std::string text_of(Fault fault) {
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
// memory, which is used in turns. Its parts are free again once the device has passed them, so the host waits only when
// it is that far ahead. Large copies are handed to the driver, which waits by itself.
class Staging {
 public:
  static constexpr std::size_t kParts = 4, kPartBytes = std::size_t{8} << 20U, kLargestCopy = kPartBytes / 2;

  explicit Staging(cudaStream_t stream) : stream_(stream), memory_(PinnedMemory::allocate(kParts * kPartBytes)) {
    for (auto& part : parts_) part.passed = Event::create(false);
  }

  static bool takes(std::size_t bytes) { return bytes <= kLargestCopy; }
  // For a copy that is given to the stream before the next call.
  std::byte* take(std::size_t bytes) {
    if (used_ + bytes > kPartBytes) next_part();
    auto* out = memory_.data() + current_ * kPartBytes + used_;
    used_ += (bytes + 255) / 256 * 256;
    return out;
  }
  void deliver_later(void* to, const std::byte* from, std::size_t bytes) {
    parts_[current_].pending.push_back({to, from, bytes});
  }
  // After the stream has been waited for.
  void finish() {
    for (std::size_t i = 1; i <= kParts; ++i) deliver(parts_[(current_ + i) % kParts]);  // oldest first
    used_ = 0;
  }

 private:
  struct Pending {
    void* to;
    const std::byte* from;
    std::size_t bytes;
  };
  struct Part {
    Event passed;  // recorded behind its last copy
    bool in_use = false;
    std::vector<Pending> pending;
  };

  void next_part() {
    parts_[current_].passed.record(stream_);
    parts_[current_].in_use = true;
    current_ = (current_ + 1) % kParts;
    used_ = 0;
    auto& part = parts_[current_];
    if (part.in_use) check_cuda(cudaEventSynchronize(part.passed.get()), "wait for copies");
    deliver(part);
  }
  static void deliver(Part& part) {
    for (const auto& copy : part.pending) std::memcpy(copy.to, copy.from, copy.bytes);
    part.pending.clear();
    part.in_use = false;
  }

  cudaStream_t stream_;
  PinnedMemory memory_;
  std::array<Part, kParts> parts_;
  std::size_t current_ = 0, used_ = 0;
};

// What only a real device has; a backend that plans has none of it.
struct DeviceParts {
  Stream stream = Stream::create();
  PinnedMemory fault = PinnedMemory::allocate(sizeof(DeviceFault));
  Staging staging{stream.get()};
  std::vector<Event> events;
};

}  // namespace lsd::backends::cuda
