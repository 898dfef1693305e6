// SPDX-License-Identifier: Apache-2.0
#pragma once
// A backend without operations. As Device::cuda it stands for a device whose memory the host must not read: copies are
// counted, so tests see whether tensors were staged.

#include <cstring>

#include "lsd/core/error.h"
#include "lsd/tensor/backend.h"

namespace lsd {

class FakeBackend final : public Backend {
 public:
  explicit FakeBackend(Device device) : device_(device) {}
  std::string_view name() const override { return "fake"; }
  std::string description() const override { return "fake"; }
  Device device() const override { return device_; }
  MatrixOps& matrix() override { return none<MatrixOps>(); }
  NormOps& norm() override { return none<NormOps>(); }
  AttentionOps& attention() override { return none<AttentionOps>(); }
  PointwiseOps& pointwise() override { return none<PointwiseOps>(); }
  RandomOps& random() override { return none<RandomOps>(); }
  LossOps& loss() override { return none<LossOps>(); }
  ReduceOps& reduce() override { return none<ReduceOps>(); }
  OptimizerOps& optimizer() override { return none<OptimizerOps>(); }
  DeviceMemory allocate(std::size_t) override { return {}; }
  void copy_to_device(TensorView to, const void* from) override {
    ++uploads;
    std::memcpy(to.raw(), from, static_cast<std::size_t>(to.bytes()));
  }
  void copy_to_host(void* to, ConstTensorView from) override {
    ++downloads;
    std::memcpy(to, from.raw(), static_cast<std::size_t>(from.bytes()));
  }
  void copy_on_device(TensorView to, ConstTensorView from) override {
    std::memcpy(to.raw(), from.raw(), static_cast<std::size_t>(from.bytes()));
  }
  void synchronize() override {}

  int uploads = 0, downloads = 0;

 private:
  template <class Ops>
  Ops& none() {
    throw InternalError("this backend has no operations");
  }
  Device device_;
};

}  // namespace lsd
