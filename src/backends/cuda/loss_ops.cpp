// SPDX-License-Identifier: Apache-2.0
#include "losses_internal.h"

namespace lsd::backends::cuda {
namespace {

class CudaLossOps : public LossOps {
 public:
  explicit CudaLossOps(CudaContext& context) : LossOps(context.ops), context_(context) {}

 private:
  std::size_t scratch_bytes(const CrossEntropy& op) const override { return scratch_bytes_of(op); }
  std::size_t scratch_bytes(const SquaredError& op) const override { return scratch_bytes_of(op); }
  void launch(const CrossEntropy& op) override {
    launch_cross_entropy(context_, op, context_.ops.scratch_for("CrossEntropy", scratch_bytes(op)));
  }
  void launch(const SquaredError& op) override {
    launch_squared_error(context_, op, context_.ops.scratch_for("SquaredError", scratch_bytes(op)));
  }

  CudaContext& context_;
};

}  // namespace

std::unique_ptr<LossOps> make_loss_ops(CudaContext& context) {
  return std::make_unique<CudaLossOps>(context);
}

}  // namespace lsd::backends::cuda
