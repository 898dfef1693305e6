// SPDX-License-Identifier: Apache-2.0
#pragma once
// A device and its implementation of every family of operations. Ops run in the order they are given; on an
// asynchronous device copies and ops are ordered with each other, and only synchronize() waits.

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "lsd/tensor/attention_ops.h"
#include "lsd/tensor/loss_ops.h"
#include "lsd/tensor/matrix_ops.h"
#include "lsd/tensor/norm_ops.h"
#include "lsd/tensor/optimizer_ops.h"
#include "lsd/tensor/pointwise_ops.h"
#include "lsd/tensor/random_ops.h"
#include "lsd/tensor/reduce_ops.h"

namespace lsd {

// Owned memory on a backend's device, 256-byte aligned, freed when destroyed.
class DeviceMemory {
 public:
  using Free = void (*)(void*);
  DeviceMemory() = default;
  DeviceMemory(void* data, std::size_t bytes, Free free) : data_(data), bytes_(bytes), free_(free) {}
  DeviceMemory(DeviceMemory&& other) noexcept;
  DeviceMemory& operator=(DeviceMemory&& other) noexcept;
  ~DeviceMemory();
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  Free free_ = nullptr;
};

class Backend {
 public:
  virtual ~Backend() = default;
  Backend() = default;
  Backend(const Backend&) = delete;
  Backend& operator=(const Backend&) = delete;

  virtual std::string_view name() const = 0;    // "cpu", "reference", "cuda"
  virtual std::string description() const = 0;  // device model, threads, library versions: for logs and provenance
  virtual Device device() const = 0;

  virtual MatrixOps& matrix() = 0;
  virtual NormOps& norm() = 0;
  virtual AttentionOps& attention() = 0;
  virtual PointwiseOps& pointwise() = 0;
  virtual RandomOps& random() = 0;
  virtual LossOps& loss() = 0;
  virtual ReduceOps& reduce() = 0;
  virtual OptimizerOps& optimizer() = 0;

  // Throws SystemError naming the bytes asked for and the bytes free.
  virtual DeviceMemory allocate(std::size_t bytes) = 0;
  // Between host memory and this device. The host memory must stay alive until synchronize().
  virtual void copy_to_device(TensorView to, const void* from) = 0;      // to.bytes() bytes
  virtual void copy_to_host(void* to, ConstTensorView from) = 0;         // from.bytes() bytes
  virtual void copy_on_device(TensorView to, ConstTensorView from) = 0;  // same shape and type
  virtual void synchronize() = 0;  // everything given so far is done; throws what went wrong

  // Points in the order of ops and copies, by number, made at first use. A device's own clock measures between them;
  // where the host computes, it is the host's.
  virtual void record_event(int event);
  virtual void wait_for_event(int event);             // everything given before it is done; throws what went wrong
  virtual double elapsed_ms(int from, int to) const;  // of two recorded events that have been waited for

  // Host memory that this device's copies run fastest with, and a copy into it that does not make the host wait: done
  // when an event that was recorded behind it is.
  virtual DeviceMemory allocate_staging(std::size_t bytes);
  virtual void copy_to_staging(void* to, ConstTensorView from);
  virtual std::size_t device_bytes_in_use() const;  // of a device with memory of its own, by all its users; else 0

  // While planning, ops check shapes and add up scratch but launch nothing, and allocate() gives no memory.
  void set_planning(bool planning) { context_.planning = planning; }
  bool planning() const { return context_.planning; }
  std::size_t planned_scratch_bytes() const { return context_.scratch_peak_bytes; }
  void reserve_scratch(std::size_t bytes);  // allocates what planning found; called once before the first step
  OpContext& op_context() { return context_; }

 protected:
  OpContext context_;

 private:
  DeviceMemory scratch_;
  std::vector<std::chrono::steady_clock::time_point> event_times_;
};

}  // namespace lsd
