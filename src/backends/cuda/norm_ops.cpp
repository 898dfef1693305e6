// SPDX-License-Identifier: Apache-2.0
#include "norms_internal.h"

namespace lsd::backends::cuda {
namespace {

class CudaNormOps : public NormOps {
 public:
  explicit CudaNormOps(CudaContext& context) : NormOps(context.ops), context_(context) {}

 private:
  std::size_t scratch_bytes(const NormForward&) const override { return 0; }
  std::size_t scratch_bytes(const AdaptiveNormForward&) const override { return 0; }
  std::size_t scratch_bytes(const NormBackward& op) const override { return scratch_bytes_of(op); }
  std::size_t scratch_bytes(const AdaptiveNormBackward& op) const override { return scratch_bytes_of(op); }
  void launch(const NormForward& op) override { launch_norm(context_, op); }
  void launch(const AdaptiveNormForward& op) override { launch_norm(context_, op); }
  void launch(const NormBackward& op) override {
    launch_norm(context_, op, context_.ops.scratch_for("NormBackward", scratch_bytes(op)));
  }
  void launch(const AdaptiveNormBackward& op) override {
    launch_norm(context_, op, context_.ops.scratch_for("AdaptiveNormBackward", scratch_bytes(op)));
  }

  CudaContext& context_;
};

}  // namespace

std::unique_ptr<NormOps> make_norm_ops(CudaContext& context) {
  return std::make_unique<CudaNormOps>(context);
}

}  // namespace lsd::backends::cuda
