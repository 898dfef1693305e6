// SPDX-License-Identifier: Apache-2.0
#pragma once
// Stack memory for one step's activations: allocate in order, release back to a mark. Sized once before the run by a
// planning walk, so that nothing is allocated inside a step.

#include <cstddef>

#include "lsd/tensor/backend.h"

namespace lsd {

class Arena {
 public:
  using Mark = std::size_t;

  // A planning arena has no memory: allocate() gives views without data and the peak is recorded.
  explicit Arena(Device device) : device_(device), planning_(true) {}
  Arena(DeviceMemory memory, Device device) : memory_(std::move(memory)), device_(device) {}

  TensorView allocate(DType dtype, Shape shape);  // 256-byte aligned, contents undefined; throws SystemError when full
  TensorView like(ConstTensorView other) { return allocate(other.dtype(), other.shape()); }
  Mark mark() const { return used_; }
  void release(Mark mark) { used_ = mark; }  // views made after the mark must not be used any more
  std::size_t peak_bytes() const { return peak_; }
  std::size_t capacity_bytes() const { return memory_.bytes(); }

 private:
  DeviceMemory memory_;
  std::size_t used_ = 0, peak_ = 0;
  Device device_;
  bool planning_ = false;
};

// Releases what was allocated in its scope.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), mark_(arena.mark()) {}
  ~ArenaScope() { arena_.release(mark_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  Arena::Mark mark_;
};

}  // namespace lsd
